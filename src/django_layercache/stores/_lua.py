"""The scripts of the `redis` store. Each is one atomic step of the protocol.

Keys of a namespace (all begin with its prefix):

``register``
    A hash without a TTL: the generation, when it ``began`` and ``because`` of what, the sequence, until when
    to distrust, the server's identity, when the last mark was placed (``fed``), and every live mark (field ``m:<tag>``,
    value ``<writer> <expiry>`` pairs). It is the second copy of the marks that DESIGN calls for,
    and here the only one: a pending tag is one that has no token and a live mark in the register.
    If it is gone, the server has lost data, and nothing is trusted before the grace is over.
``generation``
    The generation once more, for who is told when it changes. Nobody reads it.
``pulse:<process>.<number>``
    What a process writes here it is told of, or it does not hear any more. Nobody reads it.
``t:<tag>``
    The token of a settled tag.
``e:<key>``
    An entry; it names its tags.

Times are microseconds of the server's clock; Lua's numbers hold them exactly until 2255.
"""

# Tests replace this line to move the clock.
NOW = "local clock = redis.call('TIME'); local now = clock[1] * 1000000 + clock[2]"

_PRELUDE = """
local register, prefix, nonce = KEYS[1], ARGV[1], string.sub(ARGV[2], 1, 8)
local grace, token_ttl = tonumber(ARGV[3]), ARGV[4]
--NOW--

local head = redis.pcall('HMGET', register, 'generation', 'sequence', 'distrust')
if head.err then redis.call('DEL', register); head = {} end
local generation, sequence, distrust = head[1], tonumber(head[2] or nil), tonumber(head[3] or nil)

local function as_integer(number) return string.format('%.0f', number) end

-- A new generation: no token of an older one counts any more.
local function begin_generation(trusted_from, because)
  generation, sequence, distrust = nonce, math.max((sequence or 0) + 1, now), trusted_from
  redis.call('HSET', register, 'generation', generation,
             'sequence', as_integer(sequence), 'distrust', as_integer(distrust),
             'began', as_integer(now), 'because', because)
  redis.call('SET', prefix .. 'generation', generation)
end
-- A register that somebody has tampered with is as good as none. NaN is less than nothing, and
-- above 2^53 a sequence does not grow. A minute for clocks that step, and for graces that differ.
local function is_sound()
  return generation and #generation == 8 and sequence and sequence >= 0 and sequence < 2^53
    and distrust and distrust <= now + grace + 60000000
end
if not is_sound() then
  sequence = nil
  begin_generation(now + grace, 'lost')
end
-- A server that was restarted or replaced may hold old data. One that has been up for a while and
-- was fed by the other until now is a replica, and has every mark, if those were acknowledged
-- (*fed_since*). The other may have drawn tokens, though, that did not arrive.
local function follow(identity, fed_since)
  local before = redis.call('HGET', register, 'identity')
  if before == identity then return end
  local fed_at = tonumber(redis.call('HGET', register, 'fed') or nil)
  if fed_since and fed_at and fed_at > fed_since then
    sequence = math.max(sequence, now) + 60000000
    redis.call('HSET', register, 'sequence', as_integer(sequence))
  else
    redis.call('DEL', register)
    begin_generation(now + grace, before and 'identity' or 'lost')
  end
  redis.call('HSET', register, 'identity', identity)
end
-- In a cluster each call says whom it talks to: slots move, and connections stay.
if #ARGV[2] > 8 then follow(string.sub(ARGV[2], 9)) end

local function position() return generation .. string.format('%016.0f', sequence) end
local function draw()
  sequence = math.max(sequence + 1, now)
  redis.call('HSET', register, 'sequence', as_integer(sequence))
  return position()
end

local function live_marks(tag)
  local live, packed = {}, redis.call('HGET', register, 'm:' .. tag)
  for writer, expiry in string.gmatch(packed or '', '(%S+) (%d+)') do
    if tonumber(expiry) > now then live[writer] = expiry end
  end
  return live
end
local function keep_marks(tag, live)
  local packed = {}
  for writer, expiry in pairs(live) do packed[#packed + 1] = writer .. ' ' .. expiry end
  if #packed == 0 then redis.call('HDEL', register, 'm:' .. tag)
  else redis.call('HSET', register, 'm:' .. tag, table.concat(packed, ' ')) end
end

local function publish(tag)
  local token = draw()
  redis.call('SET', prefix .. 't:' .. tag, token, 'EX', token_ttl)
  return token
end
-- A missing token is never "unchanged": pending if a mark lives or lost data is feared, else minted.
local function mint(tag)
  local live = live_marks(tag)
  if next(live) or now < distrust then return '' end
  keep_marks(tag, live)
  return publish(tag)
end
local function states_of(tags)
  local states = {}
  for first = 1, #tags, 500 do
    local last, names = math.min(first + 499, #tags), {}
    for i = first, last do names[#names + 1] = prefix .. 't:' .. tags[i] end
    local tokens = redis.call('MGET', unpack(names))
    for i = first, last do
      local token = tokens[i - first + 1]
      if token and string.sub(token, 1, #generation) == generation then states[i] = token
      else states[i] = mint(tags[i]) end
    end
  end
  return states
end
"""

# KEYS: register, entry. ARGV: ..., tags.
# Returns the entry, the position of the sequence, whether the grace lasts, how many milliseconds
# the entry has left, the states of the tags asked for, then the states of the entry's tags, in
# the order of its header.
_READ = """
-- The bytes of an entry: entries.py. Nothing for those of another format, as nobody will use them.
local function tags_of(entry)
  if string.sub(entry, 1, 2) ~= 'L2' or #entry < 22 then return {} end
  local names = string.sub(entry, 23, 22 + struct.unpack('<I4', entry, 19))
  local tags, name = {}, ''
  for part in string.gmatch(names, '([^\\255]*)\\255') do
    name = string.sub(name, 1, string.byte(part) or 0) .. string.sub(part, 2)
    tags[#tags + 1] = name
  end
  return tags
end

local asked = {}
for i = 5, #ARGV do asked[#asked + 1] = ARGV[i] end
local states = states_of(asked)
local entry = KEYS[2] and redis.pcall('GET', KEYS[2]) or false
if type(entry) == 'table' then entry = '' end -- a key of another type
if entry then
  for _, state in ipairs(states_of(tags_of(entry))) do states[#states + 1] = state end
end
-- Changes nothing on a primary. A replica refuses it, and so does a primary that has fewer
-- replicas than `min-replicas-to-write` says: one that was replaced must not answer with the
-- tokens that it still has. Last, as nothing is refused for want of memory after a write.
redis.call('PERSIST', register)
local left = entry and redis.call('PTTL', KEYS[2]) or 0
local reply = {entry, position(), now < distrust and 1 or 0, left}
for _, state in ipairs(states) do reply[#reply + 1] = state end
return reply
"""

# ARGV: ..., writer, lease, tags.
_MARK = """
local writer, expiry = ARGV[5], as_integer(now + tonumber(ARGV[6]))
redis.call('HSET', register, 'fed', as_integer(now))
for i = 7, #ARGV do
  local live = live_marks(ARGV[i])
  live[writer] = expiry
  keep_marks(ARGV[i], live)
  redis.call('DEL', prefix .. 't:' .. ARGV[i])
end
-- Marks of writers that died are dropped where their tag is read. Those that nobody reads
-- again are swept when they have become many.
if redis.call('HLEN', register) > 4096 and now > tonumber(redis.call('HGET', register, 'sweep') or 0) then
  redis.call('HSET', register, 'sweep', as_integer(now + 10000000))
  local fields = redis.call('HKEYS', register)
  for _, field in ipairs(fields) do
    if string.sub(field, 1, 2) == 'm:' then
      local tag = string.sub(field, 3)
      keep_marks(tag, live_marks(tag))
    end
  end
end
return 1
"""

# ARGV: ..., writer, tags.
_RELEASE = """
for i = 6, #ARGV do
  local live = live_marks(ARGV[i])
  live[ARGV[5]] = nil
  keep_marks(ARGV[i], live)
  if not next(live) then
    if now < distrust then redis.call('DEL', prefix .. 't:' .. ARGV[i])
    else publish(ARGV[i]) end
  end
end
return 1
"""

# The marks stay: their writers have not committed yet.
_RESET = """
begin_generation(distrust, 'cleared')
return 1
"""

# ARGV: ..., generation.
_END_GRACE = """
if generation == ARGV[5] then redis.call('HSET', register, 'distrust', as_integer(now)) end
return 1
"""

# ARGV: ..., identity, and for how long the server must have been fed to be trusted. Run on each
# new connection, before anything else.
_IDENTIFY = """
follow(ARGV[5], ARGV[6] and now - tonumber(ARGV[6]))
return 1
"""

NAMES = {
    "read": _READ,
    "mark": _MARK,
    "release": _RELEASE,
    "reset": _RESET,
    "end_grace": _END_GRACE,
    "identify": _IDENTIFY,
}


def source(name: str, now: str = NOW) -> str:
    """The whole text of the script *name*."""
    return _PRELUDE.replace("--NOW--", now) + NAMES[name]
