# Takes all that is ours of Grafana away, whichever mode it was. What others put beside it stays as it is.

include:
  - dcgm.grafana.own_clean

Remove what was put into a Grafana of others:
  dcgm_grafana.removed: []
