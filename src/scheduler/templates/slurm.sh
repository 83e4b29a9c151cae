#!/bin/sh
# A VM job of hpcvm {{ version }}. What it runs is in the job file that the last line names.
#SBATCH --nodes=1
#SBATCH --ntasks=1
{% for line in script %}
#SBATCH {{ line }}
{% endfor %}
{% if name %}
#SBATCH --job-name={{ name }}
{% endif %}
{% if output %}
#SBATCH --output=%x.o{{ "%A.%a" if array else "%j" }}
{% endif %}
{% if error %}
#SBATCH --error=%x.e{{ "%A.%a" if array else "%j" }}
{% endif %}
# A job that is started again goes on with its output.
#SBATCH --open-mode=append
{% if tasks %}
#SBATCH --array={{ tasks }}{% if limit %}%{{ limit }}{% endif %}

{% endif %}
{% if slots %}
#SBATCH --cpus-per-task={{ slots }}
{% endif %}
{% if memory_mib %}
#SBATCH --mem={{ memory_mib }}M
{% endif %}
{% if minutes %}
#SBATCH --time={{ minutes }}
{% endif %}
{% if warn %}
# Tell this script, which becomes the launcher, before the time is up. It may come a minute early.
#SBATCH --signal=B:TERM@{{ warning_seconds }}
{% endif %}
{% if retries %}
#SBATCH --requeue
{% endif %}
{% for line in native %}
#SBATCH {{ line }}
{% endfor %}
exec {{ launch }}
