-- Tables that grow and shrink, strings, weak tables, finalizers, coroutines, both collectors.
local function check(text)
  local sum = 0
  for i = 1, #text do sum = (sum * 31 + text:byte(i)) % 4294967296 end
  return sum
end
local function work()
  local rows = {}
  for i = 1, 100000 do rows[(i * 7919) % 100003] = { i, tostring(i):rep(i % 10) } end
  local total = 0
  for key, row in pairs(rows) do
    if row[1] % 2 == 0 then rows[key] = nil else total = total + #row[2] end
  end
  local weak, finalized = setmetatable({}, { __mode = "v" }), 0
  for i = 1, 5000 do
    weak[i] = setmetatable({ i }, { __gc = function() finalized = finalized + 1 end })
  end
  collectgarbage() collectgarbage()
  local alive = 0
  for _ in pairs(weak) do alive = alive + 1 end
  local parts = {}
  for i = 1, 20000 do parts[#parts + 1] = ("%05d:%s"):format(i, ("x"):rep(i % 50)) end
  local text = table.concat(parts, ",")
  local changed, count = text:gsub("(%d+):(x*)", function(n, x) return #x .. "-" .. n end)
  local producers = {}
  for n = 1, 500 do
    producers[n] = coroutine.wrap(function() for i = 1, 10 do coroutine.yield(n * i) end end)
  end
  local sum = 0
  for _ = 1, 10 do for _, producer in ipairs(producers) do sum = sum + producer() end end
  local ok, message = pcall(function() error(("deep"):rep(1000)) end)
  local keys = {}
  for i, part in ipairs(parts) do keys[part] = i * 7919 % 20011 end
  table.sort(parts, function(a, b) return keys[a] < keys[b] end)
  print(total, alive, finalized, #text, check(changed), count, sum, ok, #message, parts[777])
end
work()
collectgarbage("generational")
work()
collectgarbage("incremental", 150, 400)
work()
