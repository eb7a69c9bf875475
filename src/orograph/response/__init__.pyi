from .edge_of_stability import CentralFlow as CentralFlow
from .edge_of_stability import central_flow as central_flow
from .reweighing import Influence as Influence
from .reweighing import influence as influence
from .third_order import Sharpening as Sharpening
from .third_order import curvature_gradients as curvature_gradients
from .third_order import sharpening as sharpening
