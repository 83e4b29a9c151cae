#!/bin/sh
# A VM job of hpcvm {{ version }}. What it runs is in the job file that the last line names.
# SIGUSR2 comes when the time is up, SIGINT and SIGTERM before a kill.
#BSUB -L /bin/sh
{% for line in script %}
#BSUB {{ line }}
{% endfor %}
{% if tasks %}
#BSUB -J "{{ name or "hpcvm" }}[{{ tasks }}]{% if limit %}%{{ limit }}{% endif %}"
{% elif name %}
#BSUB -J "{{ name }}"
{% endif %}
{% if output %}
#BSUB -o {{ name or "hpcvm" }}.o%J{{ ".%I" if array else "" }}
{% endif %}
{% if error %}
#BSUB -e {{ name or "hpcvm" }}.e%J{{ ".%I" if array else "" }}
{% endif %}
{% if slots %}
#BSUB -n {{ slots }}
#BSUB -R "span[hosts=1]"
{% endif %}
{% if memory_mib %}
#BSUB -R "rusage[mem={{ memory_mib }}MB]"
{% endif %}
{% if minutes %}
#BSUB -W {{ minutes }}
{% endif %}
{% if retries %}
# A node that fails the job is not tried again.
#BSUB -Q "EXCLUDE({{ node_failed }})"
{% endif %}
{% for line in native %}
#BSUB {{ line }}
{% endfor %}
exec {{ launch }}
