"""The Gauss–Newton split of eigenvalues."""
