# Pillar of the lab; what stands between two @ is filled in when the lab starts. Shorter intervals than a site's, so that one sees things happen.
dcgm:
  cluster: superpod
  hosts:
    nodes: 'dgx-*'
    head: bcm-01
    monitoring: bcm-01
  go:
    version: '@go_version@'
    source: /cm/shared/lab/go{version}.linux-{arch}.tar.gz
    sha256:
      amd64: @go_sha256@
  exporter:
    release: '@release@'
    commit: @commit@
    source:
      url: /cm/shared/lab/upstream/dcgm-exporter.git
    build:
      environment: @build_environment@
    interval: 2000
    start_timeout: 30
  slurm:
    controller: bcm-01  # in earlier labs: controller: head
    gres: [gpu, shard]
  job_map:
    reconcile: 5
    grace: 5
  metrics:
    interval: 3
  watcher:
    interval: 2
    timeout: 2
    heads: [master, bcm-01, bcm-02]
  grafana: @grafana@
  prometheus:
    scrape_interval: 2s
    refresh_interval: 2s
