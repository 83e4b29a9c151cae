#!/usr/bin/perl
# probe.pl FOLDER [STATUS]: a job that writes down which of its processes gets which signal, and when.
#
# Five processes: the job's first one (script), its child in the same process group (child), one in
# a group of its own (group), one in a session of its own (session), and a daemon that has forked
# twice (daemon). Each appends "SECONDS SIGNAL" to FOLDER/NAME.signals, where SECONDS is the wall
# clock, and "SECONDS stopped" after a time in which it did not run; FOLDER/NAME.alive has the
# last moment at which it ran.
use strict;
use warnings;
use POSIX ();
use Time::HiRes qw(time sleep);

my ($folder, $status) = @ARGV;
my $name = 'script';
for my $other (qw(child group session daemon)) {
    my $pid = fork() // die "fork: $!";
    next if $pid;
    $name = $other;
    setpgrp(0, 0) if $name eq 'group';
    POSIX::setsid() if $name eq 'session' or $name eq 'daemon';
    if ($name eq 'daemon') { exit 0 if fork(); }
    last;
}

open(my $signals, '>>', "$folder/$name.signals") or die "$folder/$name.signals: $!";
$signals->autoflush(1);
open(my $alive, '>', "$folder/$name.alive") or die "$folder/$name.alive: $!";
$alive->autoflush(1);
for my $signal (qw(HUP INT QUIT USR1 USR2 ALRM TERM XCPU XFSZ TSTP CONT)) {
    $SIG{$signal} = sub { printf $signals "%.3f %s\n", time(), $signal; };
}

my $last = time();
my $end = $last + 150;
while ((my $now = time()) < $end) {
    printf $signals "%.3f stopped until %.3f\n", $last, $now if $now - $last > 1.5;
    $last = $now;
    seek($alive, 0, 0);
    printf $alive "%.3f\n", $now;
    # The job ends in its own way when it is told to by a file, for what the scheduler then does.
    exit($status // 0) if -e "$folder/end";
    sleep(0.05);
}
