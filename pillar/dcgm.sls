# The settings of this site. What is not here has the default of salt/dcgm/defaults.yaml; example.sls shows every key.
dcgm:
  cluster: slurm
  hosts:
    nodes: '*dgx*'
    # Minion id of the BCM head node that runs the Salt master.
    head: ''
