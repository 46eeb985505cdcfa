-- Wireshark dissector for resetbed: what a TCP frame means to the testbed, and its numbers.
--
--   wireshark -X lua_script:wireshark/resetbed.lua capture.pcapng
--
-- It reads the frames of ./resetbed capture and of a run's capture.pcapng, and adds nothing to
-- others. Filters: resetbed, resetbed.kind == "tier-1 copy". The marks are those of
-- topologies/domain/plan.py, the meaning of the numbers that of nodes/guard/verdict.py.

local VIP4, VIP6 = "10.0.0.1", "fd00:10::1"
local FANOUT_MAC = "02:00:00:00:00:0f"
local RELAY_MAC = "02:00:00:00:00:0d"
-- With a time in its bytes 3 and 4.
local SECOND_CHANCE = "^02:00:%x%x:%x%x:00:0e$"
-- With a time in its last byte.
local SEARCH = "^02:0e:00:00:00:%x%x$"
local NODE = "^02:02:"

local FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

local resetbed = Proto("resetbed", "resetbed")
local kind = ProtoField.string("resetbed.kind", "Kind")
local meaning = ProtoField.string("resetbed.meaning", "Meaning")
local seq_means = ProtoField.string("resetbed.seq_means", "Sequence number")
local ack_means = ProtoField.string("resetbed.ack_means", "Acknowledgment number")
resetbed.fields = { kind, meaning, seq_means, ack_means }

local eth_src, eth_dst = Field.new("eth.src"), Field.new("eth.dst")
local ip_src, ip6_src = Field.new("ip.src"), Field.new("ipv6.src")
local tcp_port = Field.new("tcp.srcport")
local interface = Field.new("frame.interface_name")

local NOT_RECOGNISED = {
    "not-recognised reset",
    "a node has no connection for a stray segment (E2)",
    "SEG.ACK of the stray: what the client's RCV.NXT must be (RFC 9293, 3.10.7.1)",
    "SEG.SEQ of the stray; TCP does not read it, since there is no ACK flag",
}
local PLAIN_RESET = {
    "reset without fan-out",
    "RST|ACK of the VIP: an abort, a refused SYN, or a stray answered for its client alone",
    "the client's RCV.NXT",
    "what the node has received, or the end of the segment that it refuses",
}
local COPY_NUMBERS = {
    "what the client had acknowledged: lies between SND.UNA and SND.NXT of the owner",
    "the client's own number: within 16 MiB of the owner's RCV.NXT, which its guard writes "
        .. "as the sequence number",
}
local TIER1 = { "tier-1 copy", "from the fabric to a chassis (E3, E4)" }
local TIER2 = { "tier-2 copy", "from a chassis to a node (E5); only the owner accepts it" }
local RELAY_UP = { "relay", "a client's own reset, sent back by a node that has no such connection" }
local RELAY_DOWN = { "relay", "a client's own reset, to every node; only the owner accepts it" }
local RELAY_NUMBERS = {
    [RST] = { "must equal the owner's RCV.NXT", nil },
    [RST + ACK] = {
        "the client's own number: within 16 MiB of the owner's RCV.NXT",
        "lies between SND.UNA and SND.NXT of the owner",
    },
}
local PASSED_ON = { "second chance", "a stray that a node passes on to the earlier owner" }
local SEARCHED = { "second chance", "a stray on its way to the chassis of an earlier owner" }
local AT_EARLIER = { "second chance", "a stray at an earlier owner" }

-- Whether the captured interface is one of a node or leads to one; nil where it has no name.
local function leads_to_node()
    local name = interface()
    name = name and name.display
    if name == nil or name == "" then return nil end
    if name:find("^c%d+n%d") or name:find("^c%d+%-n%d") then return true end
    if name:find("^fabric") or name:find("^c%d+%-up") then return false end
    return nil
end

-- Policies use a tier-1 copy's destination, so the interface tells the tiers apart.
local function copy(destination)
    local is_tier2 = leads_to_node()
    if is_tier2 == nil then is_tier2 = destination:find(NODE) ~= nil end
    local tier = is_tier2 and TIER2 or TIER1
    return { tier[1], tier[2], COPY_NUMBERS[1], COPY_NUMBERS[2] }
end

local function relay(direction, flags)
    local numbers = RELAY_NUMBERS[bit.band(flags, RST + ACK)] or {}
    return { direction[1], direction[2], numbers[1], numbers[2] }
end

local function is_from_vip()
    local four, six = ip_src(), ip6_src()
    return four and tostring(four) == VIP4 or six and tostring(six) == VIP6
end

local function classified(source, destination, flags)
    local is_reset = bit.band(flags, RST) ~= 0
    if source == FANOUT_MAC then return copy(destination) end
    if source == RELAY_MAC then return relay(RELAY_DOWN, flags) end
    if destination == RELAY_MAC then return relay(RELAY_UP, flags) end
    if destination:find(SECOND_CHANCE) then return PASSED_ON end
    if source:find(SEARCH) then return SEARCHED end
    if source:find(SECOND_CHANCE) then return AT_EARLIER end
    if not is_reset or not is_from_vip() then return nil end
    if bit.band(flags, FIN + SYN + ACK) == 0 then return NOT_RECOGNISED end
    return PLAIN_RESET
end

function resetbed.dissector(tvb, pinfo, tree)
    local source, destination, port = eth_src(), eth_dst(), tcp_port()
    if not (source and destination and port) then return end
    local header = port.offset
    local found = classified(tostring(source), tostring(destination), tvb(header + 13, 1):uint())
    if found == nil then return end
    local branch = tree:add(resetbed, tvb(header, 20), "resetbed: " .. found[1])
    branch:add(kind, found[1])
    branch:add(meaning, found[2])
    local numbers = { { seq_means, found[3], 4 }, { ack_means, found[4], 8 } }
    for _, number in ipairs(numbers) do
        local field, text, offset = number[1], number[2], number[3]
        if text then
            local range = tvb(header + offset, 4)
            branch:add(field, range, string.format("%u: %s", range:uint(), text))
        end
    end
    pinfo.cols.info:append(" [" .. found[1] .. "]")
end

register_postdissector(resetbed)
