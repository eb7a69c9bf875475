from .block_operator import BlockOperator as BlockOperator
from .curvature import BlockCurvature as BlockCurvature
from .curvature import block_curvature as block_curvature
from .frobenius import Couplings as Couplings
from .frobenius import couplings as couplings
from .parts import partition as partition
