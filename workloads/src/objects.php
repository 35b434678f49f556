<?php
// Arrays that are copied on write, strings that grow, objects in cycles, generators, exceptions.
mt_srand(42);
class Node {
    public array $others = [];
    public ?Node $parent = null;
    public function __construct(public int $number, public string $text) {}
}
function numbers(int $count): Generator {
    for ($i = 0; $i < $count; $i++) yield "key$i" => mt_rand(0, 1000000);
}
$table = [];
foreach (numbers(60000) as $key => $value) $table[$key] = $value;
$copy = $table;
foreach ($copy as $key => $value) if ($value % 3 == 0) unset($copy[$key]);
asort($copy);
echo count($table), ' ', count($copy), ' ', md5(json_encode($copy)), "\n";
$collected = 0;
for ($round = 0; $round < 30; $round++) {
    $nodes = [];
    for ($i = 0; $i < 1000; $i++) {
        $node = new Node($i, str_repeat(chr(97 + $i % 26), $i % 300));
        if ($i) {
            $node->parent = $nodes[mt_rand(0, $i - 1)];
            $node->parent->others[] = $node;
        }
        $nodes[] = $node;
    }
    $length = array_sum(array_map(fn(Node $n) => strlen($n->text) * count($n->others), $nodes));
    unset($nodes, $node);
    $collected += gc_collect_cycles();
}
echo "$length ", $collected > 20000 ? 'collected' : 'kept', "\n";
$text = '';
for ($i = 0; $i < 100000; $i++) $text .= "word$i ";
echo strlen($text), ' ', md5(strrev(ucwords($text))), ' ';
echo preg_match_all('/d(\d)\1\b/', $text), "\n";
$parts = explode(' ', $text);
$ends = array_unique(array_map(fn($part) => substr($part, -3), $parts));
echo count($parts), ' ', crc32(implode(',', $ends)), "\n";
$data = ['list' => range(1, 5000), 'deep' => array_fill(0, 200, ['a' => ['b' => ['c' => 'd']]])];
for ($i = 0; $i < 20; $i++) $data = unserialize(serialize(json_decode(json_encode($data), true)));
echo md5(serialize($data)), "\n";
function fall(int $depth): int {
    if ($depth == 0) throw new RuntimeException(str_repeat('bottom', 100));
    global $unwound;
    try { return fall($depth - 1); } finally { $unwound++; }
}
$unwound = 0;
for ($i = 0; $i < 200; $i++) {
    try { fall($i); } catch (RuntimeException $error) { $last = strlen($error->getMessage()); }
}
echo "$unwound $last\n";
echo sprintf('%.6f', array_sum(array_map('sqrt', range(1, 100000)))), "\n";
$fiber = new Fiber(function (int $x): string {
    while ($x < 1000) $x += Fiber::suspend($x);
    return "fiber $x";
});
$x = $fiber->start(1);
while (!$fiber->isTerminated()) $x = $fiber->resume($x);
echo $fiber->getReturn(), "\n";
