#!/bin/sh
# A VM job of hpcvm {{ version }}. What it runs is in the job file that the last line names.
# SIGTERM comes before the kill by itself.
#PBS -S /bin/sh
{% for line in script %}
#PBS {{ line }}
{% endfor %}
{% if name %}
#PBS -N {{ name }}
{% endif %}
{% if tasks %}
#PBS -t {{ tasks }}{% if limit %}%{{ limit }}{% endif %}

{% endif %}
{% if slots %}
#PBS -l nodes=1:ppn={{ slots }}
{% endif %}
{% if memory_mib %}
#PBS -l mem={{ memory_mib }}mb
{% endif %}
{% if seconds %}
#PBS -l walltime={{ clock }}
{% endif %}
{% for line in native %}
#PBS {{ line }}
{% endfor %}
exec {{ launch }}
