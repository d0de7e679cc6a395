# Every key of the pillar `dcgm` with its default. Made by docs/make_pillar.py: copy from it what your site needs.
dcgm:
  # Name of the cluster: the label `cluster` of every target.
  cluster: slurm

  # Who does what, as Salt compound matches. An empty match is nobody.
  hosts:
    # DGX nodes: exporter, prolog and epilog.
    nodes: '*dgx*'
    # BCM head nodes that run the Salt master: watcher, shared Slurm scripts.
    head: ''
    # Where this project runs Prometheus.
    monitoring: ''
    # The one node per architecture that builds (oldest glibc of the fleet). Empty: the first node that finds no artifact.
    builder: ''

  # Numbers (user and group) of this project's system users, the same everywhere. One that somebody has is refused.
  users:
    # Runs dcgm-exporter with a remote engine; exporter:user is the name. Distributions give numbers upwards from 100 and
    # downwards from 999. All are below 1000, so that BCM's check rogueprocess passes our processes over.
    exporter: 371
    # superpod-dcgm, who serves this project's own metrics.
    agent: 372
    # superpod-build, who clones and builds dcgm-exporter on the builder.
    build: 373
    # superpod-prometheus, who runs our Prometheus on the monitoring host.
    prometheus: 374

  # The Go toolchain, installed only where the exporter is built, next to whatever Go the system has.
  go:
    enabled: true
    # archive: a release archive whose SHA-256 is checked. package: the distribution's Go, refused when it is too old.
    method: archive
    # Empty: the release that compatibility.yaml names for the exporter release.
    version: ''
    # URL, salt:// or absolute path; {version} and {arch} are filled in.
    source: 'https://go.dev/dl/go{version}.linux-{arch}.tar.gz'
    # By architecture (amd64, arm64). Empty: what compatibility.yaml knows of this version.
    sha256: {}
    # Versions lie side by side here, as go<version>.
    directory: /opt/superpod-dcgm
    # Names of the packages of method `package`.
    packages: [golang-go]

  # NVIDIA's dcgm-exporter.
  exporter:
    enabled: true
    # Release tag of NVIDIA/dcgm-exporter: <DCGM>-<exporter>.
    release: 4.5.3-4.8.2
    # Commit that the tag must point to. Empty: what compatibility.yaml knows.
    commit: ''
    # build: the builder makes the artifact, all take it. artifact: only take what is in the store.
    method: build
    # A folder dcgm-exporter/ beside the file root, or `path`, is used instead of cloning; the commit is checked alike.
    source:
      url: https://github.com/NVIDIA/dcgm-exporter.git
      path: ''
    build:
      # Made for a build and removed after it, in success and failure.
      directory: /opt/dcgm-exporter-deployment
      # Seconds that clone and build may take.
      timeout: 1800
      # Seconds that a node waits for another one's build.
      wait: 1800
      # Environment of clone and build: GOPROXY, HTTPS_PROXY, GOFLAGS …
      environment: {}
      # Packages that clone and build need, by os_family.
      packages:
        Debian: [git, gcc, libc6-dev, make]
        RedHat: [git-core, gcc, glibc-devel, make]
    # Shared storage for artifacts: <store>/<release>/linux-<arch>/.
    store: /cm/shared/apps/dcgm-exporter/artifacts
    # Where the exporter listens; unit, targets and verification use this port.
    address: ''
    port: 9400
    # Milliseconds between two samples.
    interval: 30000
    # auto: remote when one of engine_units is installed, else embedded. Also: remote, embedded.
    engine: auto
    engine_units: [nvidia-dcgm.service, cuda-dcgm.service, nv-hostengine.service]
    # Where a remote engine is asked: host:port, and where the release takes it [IPv6 address]:port or unix:///path.
    engine_address: localhost:5555
    # Name of the user of the service with a remote engine, number: users:exporter. An embedded one runs as root
    # (profiling needs CAP_SYS_ADMIN).
    user: dcgm-exporter
    # Which metrics. default: the release's own default-counters.csv. extended: those and what alerts need (XIDs, ECC,
    # throttling, temperature margin, power limits, health, NVLink errors). Or a file of yours: salt:// or absolute path.
    counters: default
    # Rows that are added to any of them: 'DCGM_FI_PROF_SM_ACTIVE, gauge, SMs in use (ratio).'
    counter_rows: []
    # Further environment of the service, as in exporter.env.
    environment: {}
    # Seconds in which /metrics must answer after a start or upgrade; then the previous release is put back.
    start_timeout: 60
    # Seconds that a node which boots waits for its roles; then it goes by the last ones it knows.
    boot_wait: 120
    # Versions kept below /opt/dcgm-exporter, the current one included.
    keep: 3
    # TLS of /metrics. Exporter and Prometheus are both set up by these keys. Empty: plain HTTP.
    tls:
      # PEM files that you put on every node; the exporter's user must be able to read the key, and nobody else.
      certificate: ''
      key: ''
      # On the monitoring host: the PEM file by which Prometheus checks the certificates. Empty: the system's authorities.
      ca: ''
      # The name in the certificates, where it is not the name or address of the target.
      server_name: ''
    # Basic authentication of /metrics.
    basic_auth:
      user: ''
      # bcrypt hash of the password, as `htpasswd -nBC 10 USER` prints it after the colon.
      hash: ''
      # On the monitoring host: the file with the password itself, which Prometheus reads.
      password_file: ''
    # Instead of tls and basic_auth: a file in the exporter-toolkit's format that you put on every node.
    web_config: ''

  # Prolog and epilog that tell the exporter which job holds which GPU.
  slurm:
    enabled: true
    # Where Slurm looks for prolog and epilog: presets those of the keys below that are left out. bcm10: slurm 23.x. bcm11: slurm 24.11.
    # plain: Slurm without BCM, with Prolog=/etc/slurm/prolog.d/* and Epilog=/etc/slurm/epilog.d/*.
    layout: bcm10
    # local: each node has its own copy. shared: all nodes run one copy in shared_directory, written by the head. Its price:
    # whoever can write there is root on every node at its next job; and where the storage is away, nodes drain.
    scripts: local
    # Where the copy for all goes with scripts: shared. {kind} in it is prolog or epilog.
    shared_directory: /cm/shared/apps/slurm/var/cm
    # Where a node's own copies go with scripts: local.
    local_directory: /usr/local/libexec/superpod-dcgm
    # Directories that several nodes see, where neither mounts nor file systems tell, such as [/cm/shared].
    shared_places: []
    # What slurmd, or BCM's dispatcher, runs as prolog.
    prolog_link: /cm/local/apps/slurm/var/prologs/60-prolog-dcgm.sh
    # The same for the epilog.
    epilog_link: /cm/local/apps/slurm/var/epilogs/60-epilog-dcgm.sh
    # Which gres types the site's Slurm has for GPUs. With shard, and for jobs with mps, a GPU may hold several live jobs;
    # else an id that a new job finds on its GPU is stale.
    gres: [gpu]
    # What Slurm's positions mean. auto: the order that `slurmd -G` lists. index: NVML's. minor: that of /dev/nvidia*.
    positions: auto
    # Minion of the Slurm controller, where the wiring of prolog and epilog is checked. Empty: not checked.
    controller: ''
    # The directory of squeue and scontrol on the nodes. Empty: found beside the slurmd that runs, in its PATH, in usual places.
    commands: ''

  # The directory that dcgm-exporter reads to label metrics with job ids; unit, tmpfiles and scripts use this key.
  job_map:
    directory: /run/dcgm-job-map
    # Milliseconds that prolog or epilog may take in all, waiting for the lock included.
    time_limit: 2000

    # Whether the exporter's own metrics get the label hpc_job. Without it, join with slurm_gpu_job_info (metrics).
    label: true
    # Whether slurm_gpu_job_info exists: user, account and partition of the job on each GPU.
    users: true
    # A file on the node where prolog and epilog write one line per run, besides syslog. Empty: none.
    log: ''
    # Seconds between two reconciliations, which remove what a crash left in the map.
    reconcile: 300
    # Seconds that a job's entry is safe from reconciliation.
    grace: 120

  # Seconds that a node waits for one answer of others' programs. Messages name the key whose time was over.
  limits:
    # nvidia-smi; with MIG it is asked three times. Where no driver stays loaded (persistence mode), each answer takes seconds.
    nvidia_smi: 20
    # slurmd -G, which lists the node's GPUs, and systemctl.
    slurmd: 10
    # squeue and scontrol, which ask the Slurm controller. Slurm's own clients wait 10 s (MessageTimeout).
    controller: 10

  # Which BCM roles make a node run the exporter.
  roles:
    # bcm: CMDaemon's REST interface. cmsh: BCM's shell on the head. static: the table below. none: run on every node.
    source: bcm
    # One of these is enough, whatever its case. Generic roles have colons: generic::dcgm.
    run_on: [slurmclient]
    # source static: {node: [role, …]}.
    static: {}

  # The engine on the Salt master that follows BCM roles.
  watcher:
    enabled: true
    # Seconds between two polls.
    interval: 30
    # BCM heads, tried in this order.
    heads: [master]
    port: 8081
    # Seconds for one answer.
    timeout: 10
    # Client certificate with a read-only profile, on the head node.
    certificate: /etc/superpod-dcgm/bcm.pem
    key: /etc/superpod-dcgm/bcm.key
    # Instead of a certificate: user name, and a file with the password.
    user: ''
    password_file: ''
    # PEM files that CMDaemon's certificate is checked against.
    ca: [/cm/local/apps/cmd/etc/cacert.pem, /cm/local/apps/cmd/etc/cluster.pem]
    # BCM's certificates often do not carry the name `master`; the chain is always checked.
    verify_name: false
    # A list with no more than this share of the known nodes, or of those with roles, is not believed until `salt-run bcm.accept`.
    minimum_share: 0.5
    # A node that so many lists in a row do not have is forgotten: its target goes, its service stays as it is.
    confirm: 3
    # Nodes that a roll-out or repairs work on at the same time (number or percentage). Role calls go to all at once.
    batch: 20%
    # Seconds that states may take on a node, a build apart; after that it is not waited for.
    deadline: 600
    # Seconds between two questions to the deployed nodes whether they are as they should be: no event need be lost.
    audit: 900
    # The master's own entries in lists of which Salt takes only one file's: engines, reactor, module_dirs.
    master: {}

  # Files by which Prometheus finds the nodes.
  targets:
    enabled: true
    directory: /cm/shared/apps/dcgm-exporter/prometheus-targets
    # How Prometheus reaches a node. name: as BCM calls it. fqdn: with the domain below. ip: the address that BCM gives of it.
    address: name
    # The domain of address `fqdn`.
    domain: ''
    # Labels added to every target.
    labels: {}

  # This project's own metrics: prolog and epilog, device table, reconciliation, and who uses which GPU.
  metrics:
    enabled: true
    # The textfile directory of a node_exporter that others run. Empty: a small service of ours serves them.
    textfile_directory: ''
    # Where our own service listens; unit and targets use this port.
    port: 9401
    # Seconds between two writings of the metrics.
    interval: 30

  # The watcher's own metrics on the head: how old its list and the target files are, how many nodes wait.
  head_metrics:
    # The textfile directory of a node_exporter that others run on the head. Empty: a small service of ours serves them.
    textfile_directory: ''
    # Where our own service listens; unit and target use this port.
    port: 9402

  # Prometheus on hosts.monitoring.
  prometheus:
    enabled: true
    # own: a service of ours, superpod-prometheus.service, beside whatever else runs there. existing: only a scrape
    # configuration to include is written.
    mode: own
    # mode own: where it listens; a port that somebody has is refused. mode existing: where that Prometheus is asked
    # whether it includes our file.
    port: 9090
    # mode own: packages that bring the program. Empty: the site installs it.
    packages: [prometheus]
    # mode own: the program; promtool is looked for beside it.
    program: /usr/bin/prometheus
    # The service that the packages bring. It is masked while ours is here if we installed the packages, else never touched.
    service: prometheus
    # mode own: configuration and data, both of our own. The data must lie on a local disk.
    config: /etc/superpod-prometheus/prometheus.yml
    data: /var/lib/superpod-prometheus
    # mode own: how long data is kept, and how much of it (such as 200GB; empty: as much as there is). What is over goes.
    retention: 30d
    retention_size: ''
    # mode own: labels of all that leaves this server, by remote_write and federation.
    external_labels: {}
    # mode own: entries of remote_write, for sites that outgrow one server. Secrets only by files (password_file …).
    remote_write: []
    # mode own: further entries of scrape_configs. Secrets only by files.
    scrape_configs: []
    # mode own: seconds in which it must come up with changed files; then the last good ones are put back.
    start_timeout: 60
    # TLS and basic authentication of Prometheus' own page. Empty: plain HTTP.
    web:
      # mode own: PEM files that you put on the monitoring host.
      certificate: ''
      key: ''
      # By what these states check that certificate when they ask the server; by default it is known by itself. In mode
      # existing it says that the server has TLS.
      ca: ''
      user: ''
      # mode own: bcrypt hash of the password.
      hash: ''
      # The file with the password itself, on the monitoring host; these states ask the server with it.
      password_file: ''
    # mode existing: where the scrape configuration is written.
    scrape_config: /etc/prometheus/scrape_configs.d/dcgm-exporter.yml
    # mode existing: where the rule files are written.
    rule_directory: /etc/prometheus/superpod-dcgm-rules
    # mode existing: its version, such as 2.53.3, where it cannot be asked on `port`.
    version: ''
    # As long as exporter:interval: a faster scrape stores samples twice, a slower one misses some.
    scrape_interval: 30s
    # How often target files are read again: shared storage gives no change notice.
    refresh_interval: 30s
    # How Prometheus speaks to the exporters when exporter:web_config is set.
    scheme: http
    ca: ''
    user: ''
    password_file: ''

  # Grafana, for the dashboards of docs/dashboards.md. The host of hosts.monitoring runs it, or asks one of others.
  grafana:
    enabled: false
    # own: the service of a Grafana package on that host, set up by these keys. existing: folder, data source and dashboards
    # are put into a Grafana of others by its API.
    mode: own
    # The folder of the dashboards.
    folder:
      uid: superpod-dcgm
      title: SuperPOD
    data_source:
      uid: superpod-prometheus
      name: SuperPOD Prometheus
      # How Grafana gets at Prometheus. Empty: with mode own the one of this host; with mode existing no data source is
      # made, and the dashboards offer those that are there.
      url: ''
      # PEM file by which Grafana checks Prometheus' certificate. Empty: the system's authorities.
      ca: ''
      # The name in that certificate, where it is not the one in url.
      server_name: ''
      # Basic authentication: the user, and a file on the monitoring host with his password.
      user: ''
      password_file: ''
    # Further dashboards in the same folder: JSON files, as salt:// or as a path on the monitoring host.
    dashboards: []
    # mode own: the package that brings Grafana, by the machine's repositories.
    package: grafana
    # mode own: a deb or rpm instead, as salt:// or as a path on the monitoring host, and its SHA-256.
    package_file: ''
    package_sha256: ''
    # mode own: a repository for the package that these states add. Empty: those that the machine has.
    repository:
      # As https://apt.grafana.com or https://rpm.grafana.com, or a mirror.
      url: ''
      # The file with its public key in text form, as salt:// or as a path on the monitoring host.
      key: ''
    # mode own: where Grafana listens. 127.0.0.1: for a proxy on the same host. Empty: everywhere.
    address: 127.0.0.1
    port: 3000
    # mode own: the address by which people reach it, such as https://mon-01/grafana/. Empty: its own.
    root_url: ''
    # mode own: whether a proxy passes on the path of root_url. false: it takes the path away.
    serve_from_sub_path: true
    # mode own: TLS of its page. Empty: plain HTTP, for a proxy that has TLS.
    tls:
      # PEM files that you put on the monitoring host; the group grafana must be able to read the key, and nobody else.
      certificate: ''
      key: ''
    # mode own: further settings as in grafana.ini, by section. Secrets only as $__file{/path}.
    settings: {}
    # mode own: seconds in which it must come up; then the last good files are put back.
    start_timeout: 120
    # mode existing: its address, as the monitoring host reaches it, such as https://grafana.example.com/grafana.
    url: ''
    # mode existing: a file on the monitoring host, of root and closed to all others, with a service-account token.
    token_file: ''
    # mode existing: PEM file by which its certificate is checked. Empty: the system's authorities.
    ca: ''
    # mode existing: seconds for one answer.
    timeout: 15

  # Rules that Prometheus evaluates: what GPUs, jobs, users, accounts, partitions, nodes and clusters use (docs/rules.md).
  rules:
    enabled: true
    # Whether there are rules under the names of jobstats' GPU exporter (nvidia_gpu_duty_cycle …) as well.
    jobstats: false
    # Utilization in per cent below which a GPU counts as idle.
    idle_utilization: 1
    # Watts below which a GPU in MIG mode is taken to do nothing; where its power limit is among the metrics, a fifth of
    # that. Above, a utilization of 0 is not believed.
    idle_power: 100

  # Alerts on what is measured, for Prometheus. docs/alerts.md says what there is; docs/runbooks.md what to do.
  alerts:
    enabled: true
    # Where alerts of our own Prometheus go: Alertmanagers that you run, as [http://mon-01:9093]. Empty: nowhere, they are
    # on its page only.
    alertmanagers: []
    # Alerts by name that are not made, such as [SuperpodGpuIdle].
    disabled: []
    # Severities by name of the alert, where they shall differ: {SuperpodGpuIdle: warning}.
    severities: {}
    # Seconds by name of the alert, where it shall fire sooner or later: {SuperpodExporterDown: 60}. 0: at once.
    for: {}
    # Labels that every alert gets, for the routes of an Alertmanager: {team: hpc}.
    labels: {}
    # What runbook_url begins with; the name of the alert follows in lower case.
    runbooks: docs/runbooks.md#
    # With exporter:counters a path on the nodes: the names of its rows that alerts may read.
    rows: []
    thresholds:
      # GPUs that every node has. 0: as many as the node showed at any time of the last day.
      gpus: 0
      # Seconds for which a job must have left its GPU idle (rules:idle_utilization, rules:idle_power).
      idle: 3600
      # Degrees before the limit at which a GPU is hot.
      margin: 5
      # Where a GPU tells neither margin nor limits: degrees at which it is hot.
      gpu_temperature: 87
      # Where it tells no limit of its memory: degrees at which that is too hot.
      memory_temperature: 95
      # Recoveries or replays of NVLinks a minute, from which on they are told.
      nvlink_recoveries: 1
      # CRC errors of NVLinks a second.
      nvlink_crc: 100
      # Single-bit errors in 10 minutes.
      single_bit: 1000
      # Seconds for one answer of an exporter.
      slow: 10
      # Seconds without a complete reconciliation of the job map.
      job_map: 1800
      # Seconds since target files were last as the roles say.
      targets: 900
      # Seconds before an exporter's certificate expires.
      certificate: 1209600
