from .branch import Branch as Branch
from .branch import BranchPoint as BranchPoint
from .branch import Event as Event
from .following import follow as follow
from .switching import Switched as Switched
from .switching import switch_branch as switch_branch
from .symmetry import layer_rotations as layer_rotations
