#!/bin/sh
# A VM job of hpcvm {{ version }}. What it runs is in the job file that the last line names.
#$ -S /bin/sh
#$ -cwd
# Tell the job before it is killed (SIGUSR2) and before it is stopped (SIGUSR1).
#$ -notify
{% for line in script %}
#$ {{ line }}
{% endfor %}
{% if name %}
#$ -N {{ name }}
{% endif %}
{% if tasks %}
#$ -t {{ tasks }}
{% endif %}
{% if limit %}
#$ -tc {{ limit }}
{% endif %}
{% if slots and slots > 1 %}
#$ -pe smp {{ slots }}
{% endif %}
{% if memory_mib %}
# Not h_vmem: it limits addresses, of which a hypervisor reserves more than it uses.
#$ -l mem_free={{ memory_mib_per_slot }}M
{% endif %}
{% if seconds %}
#$ -l h_rt={{ seconds }}
{% endif %}
{% if retries %}
# A node that goes down does not take the job with it.
#$ -r y
{% endif %}
{% for line in native %}
#$ {{ line }}
{% endfor %}
exec {{ launch }}
