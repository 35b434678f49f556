# Hashes, sorting, regular expressions, growing strings, and a forked child that exits.
use strict;
use warnings;
my (%count, $text);
for my $i (0 .. 60000) {
    my $word = "w" . ($i * 7919 % 5003);
    $count{$word}++;
    $text .= "$word ";
}
my @words = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
print "@words[0 .. 4] ", scalar(@words), "\n";
my $found = () = $text =~ /\bw(\d)\1\b/g;
print "doubled: $found\n";
(my $changed = $text) =~ s/w(\d+)/<$1>/g;
print length($changed), "\n";
my @tree = map { { id => $_, list => [1 .. $_ % 20], text => "x" x ($_ % 300) } } 1 .. 20000;
@tree = grep { $_->{id} % 3 } @tree;
my $sum = 0;
$sum += @{ $_->{list} } + length $_->{text} for @tree;
print "tree: $sum\n";
$| = 1;
my $pid = fork() // die;
if (!$pid) {
    my %own = map { $_ => "$_" x 3 } 1 .. 20000;
    print "child: ", scalar(keys %own), "\n";
    exit 0;
}
waitpid $pid, 0;
print "status: $?\n";
