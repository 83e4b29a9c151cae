#!/bin/sh
# A VM job of hpcvm {{ version }}. What it runs is in the job file that the last line names.
{% for line in script %}
#HPCVM {{ line }}
{% endfor %}
{% if name %}
#HPCVM -N {{ name }}
{% endif %}
{% if tasks %}
#HPCVM -t {{ tasks }}{% if limit %}%{{ limit }}{% endif %}

{% endif %}
{% if slots %}
#HPCVM -n {{ slots }}
{% endif %}
{% if seconds %}
#HPCVM -W {{ seconds }}
{% endif %}
{% for line in native %}
#HPCVM {{ line }}
{% endfor %}
exec {{ launch }}
