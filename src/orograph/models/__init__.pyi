from .catalogue import build_model as build_model
from .checkpoint import load_checkpoint as load_checkpoint
from .cnn import CNN as CNN
from .deep_linear import DeepLinear as DeepLinear
from .mlp import MLP as MLP
from .resnet import ResNet as ResNet
