from .coefficient import LearningCoefficient as LearningCoefficient
from .coefficient import local_learning_coefficient as local_learning_coefficient
from .mixing import effective_size as effective_size
from .mixing import split_rhat as split_rhat
from .sampling import Chains as Chains
from .sampling import langevin as langevin
from .scanning import scan_learning_coefficient as scan_learning_coefficient
