# The master's side of the code, taken from the file server, so that a packaged master finds it whatever its file root is.
{%- from "dcgm/map.jinja" import dcgm with context %}

Install the code of the watcher:
  dcgm_path.copied:
    - name: {{ dcgm.paths.watcher_code }}
    - source: salt://
    - folders: [_engines, _output, _runners, _utils]

Remove the copies that salt-run saltutil.sync_all made:
  file.absent:
    - names: {{ salt["dcgm_config.synced_copies"]() | tojson }}
    - require:
      - dcgm_path: Install the code of the watcher
