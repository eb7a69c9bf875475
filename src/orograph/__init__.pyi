# ruff: noqa: I001 - the groups are those of the reference: a test holds them against docs/reference.

# Experiments, problems, metrics
from .branch_runs import follow_run as follow_run
from .branch_runs import make_atlas as make_atlas
from .experiments import analyze as analyze
from .experiments import escape as escape
from .experiments import study as study
from .experiments import sweep as sweep
from .losses import half_squared as half_squared
from .metrics import METRICS as METRICS
from .metrics import Metric as Metric
from .problem import Problem as Problem
from .runs import extend as extend
from .runs import join as join
from .runs import redo as redo
from .tracking import Tracker as Tracker

# Curvature operators
from .curvature import EmpiricalFisherOperator as EmpiricalFisherOperator
from .curvature import FunctionOperator as FunctionOperator
from .curvature import GaussNewtonOperator as GaussNewtonOperator
from .curvature import HessianOperator as HessianOperator
from .curvature import LinearOperator as LinearOperator
from .curvature import MatrixOperator as MatrixOperator
from .curvature import as_operator as as_operator
from .objective import Objective as Objective

# Spectra, traces, density
from .spectral import Density as Density
from .spectral import Estimate as Estimate
from .spectral import Spectrum as Spectrum
from .spectral import conjugate_gradient as conjugate_gradient
from .spectral import density as density
from .spectral import lanczos as lanczos
from .spectral import trace as trace

# At a minimum: sharpness, flatness, ranks, classes
from .measures import Measurement as Measurement
from .geometry import class_accuracies as class_accuracies
from .geometry import class_gradients as class_gradients
from .geometry import class_shares as class_shares
from .geometry import evaluate as evaluate
from .geometry import finite_radius_curvature as finite_radius_curvature
from .geometry import fisher_rao_norm as fisher_rao_norm
from .geometry import loss_increase as loss_increase
from .measures import measure as measure
from .geometry import noise_robustness as noise_robustness
from .geometry import relative_flatness as relative_flatness
from .geometry import sam_sharpness as sam_sharpness
from .geometry import scalar_curvature as scalar_curvature
from .geometry import scaled_sharpness as scaled_sharpness
from .geometry import sharpness as sharpness
from .geometry import valley_asymmetry as valley_asymmetry
from .geometry import worst_case as worst_case
from .spectral import index as index
from .spectral import outliers as outliers
from .spectral import ranks as ranks
from .spectral import split as split

# By blocks of parameters
from .blockwise import BlockCurvature as BlockCurvature
from .blockwise import block_curvature as block_curvature

# How a point answers
from .response import Influence as Influence
from .response import curvature_gradients as curvature_gradients
from .response import influence as influence
from .response import sharpening as sharpening

# Degeneracy
from .degeneracy import LearningCoefficient as LearningCoefficient
from .degeneracy import local_learning_coefficient as local_learning_coefficient

# Between minima: paths, barriers, alignment, surfaces
from .connectivity import align as align
from .connectivity import barrier as barrier
from .connectivity import bezier as bezier
from .connectivity import chain as chain
from .connectivity import connect as connect
from .connectivity import curve_profile as curve_profile
from .connectivity import ensemble as ensemble
from .connectivity import filter_normalised as filter_normalised
from .connectivity import line as line
from .connectivity import nudged_elastic_band as nudged_elastic_band
from .connectivity import plane as plane
from .connectivity import profile as profile
from .connectivity import random_orthonormal as random_orthonormal
from .connectivity import surface as surface
from .connectivity import train_curve as train_curve

# Topology of surfaces
from .topology import merge_tree as merge_tree
from .topology import persistence as persistence
from .topology import saddle_barrier as saddle_barrier
from .topology import smad as smad
from .topology import surface_topology as surface_topology

# Branches of critical points
from .continuation import follow as follow
from .continuation import follow_spheres as follow_spheres
from .continuation import layer_rotations as layer_rotations
from .continuation import maxwell as maxwell
from .continuation import switch_branch as switch_branch

# Training, polishing
from .training import FitSettings as FitSettings
from .training import TrainingSettings as TrainingSettings
from .training import critical_sharpness as critical_sharpness
from .training import fit as fit
from .training import initial as initial
from .training import polish as polish
from .training import train as train
from .training import train_own as train_own

# Runs, data, models
from .data import load_data as load_data
from .models import build_model as build_model
from .models import load_checkpoint as load_checkpoint
from .store import open_run as open_run

# Packages, which hold more
from . import atlas as atlas
from . import blockwise as blockwise
from . import connectivity as connectivity
from . import continuation as continuation
from . import curvature as curvature
from . import data as data
from . import degeneracy as degeneracy
from . import escapes as escapes
from . import figures as figures
from . import geometry as geometry
from . import ladder as ladder
from . import measures as measures
from . import models as models
from . import response as response
from . import settings as settings
from . import spectral as spectral
from . import store as store
from . import topology as topology
from . import training as training
