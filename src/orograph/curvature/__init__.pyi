from .cohort import CohortHessian as CohortHessian
from .fisher import EmpiricalFisherOperator as EmpiricalFisherOperator
from .ggn import GaussNewtonOperator as GaussNewtonOperator
from .hessian import HessianOperator as HessianOperator
from .matrix import CurvatureOperator as CurvatureOperator
from .operator import FunctionOperator as FunctionOperator
from .operator import LinearOperator as LinearOperator
from .operator import MatrixOperator as MatrixOperator
