# SPDX-License-Identifier: GPL-2.0-or-later
# What: what pacman 7 does before it downloads: Landlock, no_new_privs, then alpm's ids for good; files are alpm's
# Packages: adduser perl-base

adduser --quiet --system --group --no-create-home alpm
install -d -o alpm -g alpm /var/cache/download
cat >/tmp/sandbox.pl <<'END'
use strict;
my $writes = 0x2 | 0x10 | 0x20 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800 | 0x1000;
my $handled = pack 'Q', $writes;
my $rules = syscall 444, $handled, length $handled, 0;
$rules >= 0 or die "landlock_create_ruleset: $!";
open my $top, '<', '/var/cache/download' or die;
sysopen my $below, '/var/cache/download', 0x200000 or die;
my $rule = pack 'Q l', $writes, fileno $below;
syscall(445, $rules, 1, $rule, 0) == 0 or die "landlock_add_rule: $!";
syscall(157, 38, 1, 0, 0, 0) == 0 or die "PR_SET_NO_NEW_PRIVS: $!";
syscall(446, $rules, 0) == 0 or die "landlock_restrict_self: $!";
my ($uid, $gid) = (getpwnam 'alpm')[2, 3];
syscall(106, $gid) == 0 or die "setgid: $!";
syscall(116, 0, 0) == 0 or die "setgroups: $!";
syscall(105, $uid) == 0 or die "setuid: $!";
sub try { my ($what, $result) = @_; print "$what: ", $result ? 'yes' : $!, "\n" }
try 'back to root', syscall(105, 0) == 0;
try 'file', open my $file, '>', '/var/cache/download/file';
print {$file} 'text'; close $file;
try 'directory', mkdir '/var/cache/download/dir';
try 'link', symlink 'file', '/var/cache/download/link';
try 'elsewhere', open my $other, '>', '/tmp/elsewhere';
try 'elsewhere', mkdir '/tmp/elsewhere';
try 'rename', rename '/var/cache/download/file', '/var/cache/download/renamed';
try 'chmod', chmod 0600, '/var/cache/download/renamed';
exec 'sh', '-c', 'id -un; id -nG; : >/var/cache/download/by-sh; stat -c "%U:%G %a %n" /var/cache/download/*';
END
perl /tmp/sandbox.pl
owners /var/cache/download/*
chown -R root:root /var/cache/download
owners /var/cache/download/*
