# Strings, tables, structs and symbols under a collector that runs often; threads, fibers, fork.
require "digest"
require "json"
require "set"

Point = Struct.new(:x, :y, :name)
random = Random.new(42)

table = {}
60_000.times { |i| table["key#{i * 7919 % 60_013}"] = [i, i.to_s * (i % 20)] }
table.delete_if { |_, (i, _)| i % 3 == 0 }
puts table.size, Digest::SHA256.hexdigest(table.sort.flatten.join(","))

points = Array.new(50_000) { |i| Point.new(random.rand(1000), random.rand(1000), "p#{i}".to_sym) }
groups = points.group_by(&:x).transform_values { |list| list.sum(&:y) }
puts groups.size, groups.values.sum
GC.start
GC.compact if GC.respond_to?(:compact)
puts points.map(&:name).to_set.size

text = +""
50_000.times { |i| text << "word#{i} " }
puts text.size, text.scan(/(\d)\1 /).size
puts Digest::MD5.hexdigest(text.gsub(/[aeiou]/) { |v| v.upcase })

data = { "list" => (1..3000).to_a, "deep" => Array.new(200) { { "a" => { "b" => ["c"] * 20 } } } }
10.times { data = Marshal.load(Marshal.dump(JSON.parse(JSON.generate(data)))) }
puts Digest::MD5.hexdigest(Marshal.dump(data))

queue = Queue.new
sums = Array.new(4) do |number|
  Thread.new do
    sum = 0
    2000.times { |i| sum += ("#{number}" * (i % 300)).size; queue << "x" * i if i % 100 == 0 }
    sum
  end
end.map(&:value)
puts sums.inspect, queue.size

fibers = Array.new(300) { |n| Fiber.new { |x| 5.times { x = Fiber.yield(x + n) }; "done #{x}" } }
puts fibers.map { |fiber| x = 1; x = fiber.resume(x) while x.is_a?(Integer); x }.last

children = Array.new(4) do |number|
  reader, writer = IO.pipe
  pid = fork do
    reader.close
    GC.start
    writer.write((1..20_000).map { |i| (i * number).to_s }.join.size)
  end
  writer.close
  [pid, reader]
end
children.each { |pid, reader| puts reader.read; Process.wait(pid) }
puts 3 ** 4000 % 1_000_000_007, (2**3000).to_s.size
begin
  raise ArgumentError, "x" * 1000
rescue => error
  puts error.message.size
end
