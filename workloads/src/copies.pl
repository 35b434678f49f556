# Threads that clone the interpreter with all its data, queues between them, and fork inside.
use strict;
use warnings;
use threads;
use threads::shared;
use Thread::Queue;

my %table = map { ("key$_" => [$_, "x" x ($_ % 200)]) } 1 .. 5000;
my $total : shared = 0;
my $queue = Thread::Queue->new;

sub work {
    my ($number) = @_;
    my $sum = 0;
    for my $round (1 .. 5) {
        my @wanted = grep { length($_) % 2 == $round % 2 } keys %table;
        my %copy = map { $_ => [@{ $table{$_} }] } @wanted;
        $sum += $_->[0] + length $_->[1] for values %copy;
        delete @table{ grep { $table{$_}[0] % 7 == $round } keys %table };
    }
    while (defined(my $text = $queue->dequeue)) { lock $total; $total += length $text; }
    return ($number, $sum, scalar keys %table);
}

my @threads = map { threads->create({ context => 'list' }, \&work, $_) } 1 .. 4;
$queue->enqueue("y" x ($_ % 500)) for 1 .. 3000;
my @children;
for my $code (3, 4) {
    my $pid = fork;
    no warnings "threads"; # of threads that the child does not have
    if (!$pid) { my @list = map { "z" x $_ } 1 .. 2000; exit $code + @list - 2000; }
    push @children, $pid;
}
$queue->end;
print join(" ", $_->join), "\n" for @threads;
print "total $total, here ", scalar keys %table, "\n";
for my $pid (@children) { waitpid $pid, 0; print "child ", $? >> 8, "\n"; }
for my $round (1 .. 20) { threads->create(sub { return length "w" x 10000 })->join; }
eval { die { code => 42, text => "t" x 100000 } };
print $@->{code}, " ", length $@->{text}, "\n";
