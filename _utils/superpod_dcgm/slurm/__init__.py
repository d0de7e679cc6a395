"""What slurmd runs: prolog and epilog files, their links, and the check of slurm.conf."""
