#!/usr/bin/perl
# simulated-hypervisor.pl: stands in the place of qemu-system-* where the launcher's own cost is measured.
# There is no machine: it says what a guest's job runner says for a job that prints one line and ends well
# (docs/job-protocol.md), on the file descriptors that the launcher leaves to its hypervisor.
use strict;
use warnings;

open(my $control, '+<&=', 100) or die "no control port: $!";
open(my $stdout, '>&=', 102) or die "no port for standard output: $!";
my $line = "simulated\n";
syswrite($control, "ready 2000000 init 1000000\nstarted 3000000\n");
syswrite($stdout, $line);
syswrite($control, sprintf("exit 4000000 0 %d 0 0\n", length $line));
# Until the launcher has it all.
sysread($control, my $order, 100);
