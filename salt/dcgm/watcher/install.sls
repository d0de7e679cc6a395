# The master's side of the code, taken from the file server, so that a packaged master finds it whatever its file root is.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set path = dcgm.paths %}

{%- for folder in ("_engines", "_runners", "_utils") %}

Install {{ folder }} for the master:
  file.recurse:
    - name: {{ path.watcher_code }}/{{ folder }}
    - source: salt://{{ folder }}
    - exclude_pat: '*.pyc'
    - clean: True
    - dir_mode: '0755'
    - file_mode: '0644'
{%- endfor %}
