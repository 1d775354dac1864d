// Membranes of one sample: rows of delivered sources in, tested neurons and spikes out. Included by the generated source,
// which defines Neuron.
#pragma once
#include "asynchronous/state.hpp"
#include "order/record.hpp"

// Sources of a group that belong to one range.
struct Part {
    const SourceRange* from;
    const int32_t* sources;
    const R* factor;
    int64_t count;
};

// A tile's membranes are brought up to date when it is tested, so that a timestep costs what it touches; a new sample
// only moves `born`. Current of a dense row goes from the registers straight into the test; current that comes from
// several sides, or from sparse rows, is summed in the tiles first.
class Membranes {
    const Network& net;
    Neuron neuron;
    const bool far;
    Leak leak;
    Array<Tile> tiles;
    Array<Mark> marks;
    std::vector<uint8_t> listed;  // whether a tile is in `touched`
    std::vector<R> received;
    std::vector<Part> parts;
    List touched, stale;
    int32_t epoch = 0, born = 0;

    // What waits far from the processor is asked for early: rows when their spike is queued, targets while the row
    // before is added, or AHEAD synapses before their turn. In a network of FEW neurons everything is near.
    enum { AHEAD = 16, FEW = 8192, LINE = 64 };

    void bring_up_to_date(int64_t index) {
        Mark& mark = marks[index];
        R* v = tiles[index].membrane;
        if (mark.epoch < born) {
            for (int lane = 0; lane < TILE; lane += LANES) *(V*)(v + lane) = V{};
        } else {
            for (uint32_t bits = mark.resting; bits; bits &= bits - 1) {  // held at the reset value, whatever arrived
                const int lane = __builtin_ctz(bits);
                v[lane] = neuron.reset(index * TILE + lane, v[lane]);
            }
            leak.apply(v, index, epoch - mark.epoch);
        }
        if (Neuron::SYNCHRONISED) std::fill_n(received.begin() + index * TILE, (int)TILE, R(0));
        mark = {epoch, 0};
    }
    void touch(int64_t index) {
        touched.items[touched.count] = (int32_t)index;
        touched.count += 1 - listed[(size_t)index];
        listed[(size_t)index] = 1;
        if (Neuron::SYNCHRONISED && marks[index].epoch != epoch) bring_up_to_date(index);
    }
    // In a large network the table of layers would be one more visit far away.
    const SourceRange& range_of(int64_t source) const {
        if (!far) return net.ranges[net.layer[source]];
        const SourceRange* at = net.ranges;
        while (source >= at->first + at->size) at++;
        return *at;
    }
    // Calls `with` for up to four neighbouring tiles at a time: their number, the first, its place in the row.
    template <class With> static void each_chunk(const Projection& to, With with) {
        int64_t at = 0;
        for (; at + 4 * TILE <= to.stride; at += 4 * TILE) with(std::integral_constant<int, 4>(), to.first_tile + at / TILE, at);
        for (; at < to.stride; at += TILE) with(std::integral_constant<int, 1>(), to.first_tile + at / TILE, at);
    }
    void add_dense(const Projection& to, const Part& part) {
        const R* rows = to.dense - part.from->first * to.stride;
        each_chunk(to, [&](auto n, int64_t index, int64_t at) {
            alignas(64) R sum[n * TILE];
            for (int k = 0; k < n; k++) std::copy_n(tiles[index + k].current, (int)TILE, sum + k * TILE);
            sum_rows<n>((V*)sum, rows + at, to.stride, part.sources, part.factor, part.count);
            for (int k = 0; k < n; k++) {
                std::copy_n(sum + k * TILE, (int)TILE, tiles[index + k].current);
                touch(index + k);
            }
        });
        if (Neuron::SYNCHRONISED)
            for (int64_t e = 0; e < part.count; e++)
                for (int64_t j = 0; j < to.stride; j++)
                    if (rows[part.sources[e] * to.stride + j] != R(0)) received[(size_t)(to.first_tile * TILE + j)] += part.factor[e];
    }
    int64_t add_sparse(const Projection& to, const Part& part) {
        int64_t synapses = 0;
        for (int64_t e = 0; e < part.count; e++) {
            const int64_t row = part.sources[e] - part.from->first, begin = to.ptr[row], end = to.ptr[row + 1];
            const int32_t* targets = to.targets + begin;
            if (far && e + 1 < part.count) fetch_targets(to, part.sources[e + 1] - part.from->first);
            if (far && !e) add_row<true>(targets, to.weights + begin, part.factor[e], end - begin);
            else add_row<false>(targets, to.weights + begin, part.factor[e], end - begin);
            synapses += end - begin;
            if (Neuron::SYNCHRONISED)
                for (int64_t s = 0; s < end - begin; s++) {
                    if (marks[targets[s] / TILE].epoch != epoch) bring_up_to_date(targets[s] / TILE);
                    received[(size_t)targets[s]] += part.factor[e];
                }
        }
        return synapses;
    }
    void fetch(uint32_t j) const {
        __builtin_prefetch(&tiles[j / TILE].current[j % TILE], 1);
        __builtin_prefetch(&tiles[j / TILE].membrane[j % TILE], 1);
        __builtin_prefetch(&marks[j / TILE], 1);
    }
    void fetch_targets(const Projection& to, int64_t row) const {
        for (int64_t s = to.ptr[row]; s < to.ptr[row + 1]; s++) fetch((uint32_t)to.targets[s]);
    }
    template <bool AHEAD_OF> void add_row(const int32_t* targets, const R* weights, R factor, int64_t count) {
        Tile* const all = tiles.data();
        uint8_t* const seen = listed.data();
        int32_t* const list = touched.items.data();
        size_t n = touched.count;
        if (AHEAD_OF)
            for (int64_t s = 0; s < std::min<int64_t>(AHEAD, count); s++) fetch((uint32_t)targets[s]);
        for (int64_t s = 0; s < count; s++) {
            if (AHEAD_OF && s + AHEAD < count) fetch((uint32_t)targets[s + AHEAD]);
            const uint32_t j = (uint32_t)targets[s], index = j / TILE;
            list[n] = (int32_t)index;  // without a branch: whether a tile is new is a coin toss
            n += 1 - seen[index];
            seen[index] = 1;
            all[index].current[j % TILE] += factor * weights[s];
        }
        touched.count = n;
    }

    // Whether the targets of the parts are tiles that no two parts share: then sums need not pass through memory.
    bool apart() const {
        if (Neuron::SYNCHRONISED || touched.size()) return false;
        int64_t end = 0;
        for (const Part& part : parts) {
            if (part.from->projection_begin == part.from->projection_end) continue;
            const Projection& to = net.projections[part.from->projection_begin];
            if (part.from->projection_end - part.from->projection_begin > 1 || !to.dense || to.first_tile < end) return false;
            end = to.first_tile + to.stride / TILE;
        }
        return true;
    }
    // Tests N neighbouring tiles that are up to date, one bit per neuron.
    template <int N> void test_tiles(int64_t index, const R* current, Record* tape) {
        static_assert(N * TILE <= 64, "one bit per neuron");
        uint64_t got = 0, above = 0, resting = 0;
        UNROLL for (int k = 0; k < N; k++) {
            alignas(64) R margin[TILE];
            neuron.test((index + k) * TILE, current + k * TILE, tiles[index + k].membrane, margin);
            got |= (uint64_t)bits_where<nonzero>(current + k * TILE) << (k * TILE);
            above |= (uint64_t)bits_where<positive>(margin) << (k * TILE);
            resting |= (uint64_t)marks[index + k].resting << (k * TILE);
        }
        arrived |= got;
        got &= ~resting;
        above &= got;
        tests += __builtin_popcountll(got);
        if (tape) tape->make_room(N * TILE);
        UNROLL for (int k = 0; tape && k < N; k++) {
            const uint16_t bits = (uint16_t)(got >> (k * TILE));
            compress<TILE>(tape->membrane.data() + tape->received.size(), tiles[index + k].membrane, bits);
            tape->received.push_bits((int32_t)((index + k) * TILE), bits);
        }
        for (uint64_t bits = Neuron::SYNCHRONISED ? above : 0; bits; bits &= bits - 1) {
            const int64_t j = index * TILE + __builtin_ctzll(bits);
            if (!(received[(size_t)j] > net.sigma[j])) above ^= bits & -bits;
        }
        UNROLL for (int k = 0; k < N; k++) spiked.push_bits((int32_t)((index + k) * TILE), (uint16_t)(above >> (k * TILE)));
    }

    // Whether all sources up to `last` belong to this range, and reach dense rows of one layer or nothing.
    bool sole(const SourceRange& from, int64_t last) const {
        const int64_t n = from.projection_end - from.projection_begin;
        return !Neuron::SYNCHRONISED && !touched.size() && last < from.first + from.size
            && (n == 0 || (n == 1 && net.projections[from.projection_begin].dense));
    }
    // Of parts that share no tile with others.
    void sum_and_test(const Part& part, Record* tape) {
        if (part.from->projection_begin == part.from->projection_end) return;
        const Projection& to = net.projections[part.from->projection_begin];
        const R* rows = to.dense - part.from->first * to.stride;
        count_synapses(part);
        each_chunk(to, [&](auto n, int64_t index, int64_t at) {
            alignas(64) V sum[n * PARTS] = {};
            sum_rows<n>(sum, rows + at, to.stride, part.sources, part.factor, part.count);
            for (int k = 0; k < n; k++)
                if (marks[index + k].epoch != epoch) bring_up_to_date(index + k);
            test_tiles<n>(index, (const R*)sum, tape);
        });
    }
    void count_synapses(const Part& part) {
        if (part.from->fanout >= 0) synapses += part.from->fanout * part.count;
        else for (int64_t e = 0; e < part.count; e++) synapses += net.fanout[part.sources[e]];
    }

    void split(const int32_t* sources, const R* factor, int64_t count) {
        parts.clear();
        for (int64_t i = 0; i < count;) {
            const SourceRange& from = range_of(sources[i]);
            const int64_t begin = i, last = from.first + from.size;
            if (sources[count - 1] < last) i = count;
            else while (sources[i] < last) i++;
            parts.push_back({&from, sources + begin, factor + begin, i - begin});
        }
    }
    void deliver_parts() {
        for (const Part& part : parts) {
            count_synapses(part);
            for (int64_t b = part.from->projection_begin; b < part.from->projection_end; b++) {
                const Projection& to = net.projections[b];
                if (to.dense) add_dense(to, part);
                else synapses += add_sparse(to, part);
            }
        }
    }
    void test_touched(Record* tape) {
        stale.clear();  // apart from the tests, and found without a branch: which tile is stale is a coin toss as well
        for (int32_t index : touched) {
            listed[(size_t)index] = 0;
            stale.items[stale.count] = index;
            stale.count += marks[index].epoch != epoch;
        }
        for (int32_t index : stale) bring_up_to_date(index);
        for (int32_t index : touched) {
            R* current = tiles[index].current;
            test_tiles<1>(index, current, tape);
            for (int lane = 0; lane < TILE; lane += LANES) *(V*)(current + lane) = V{};
        }
        touched.clear();
        if (spiked.size() > 1 && !std::is_sorted(spiked.begin(), spiked.end())) std::sort(spiked.begin(), spiked.end());
    }

  public:
    List spiked;           // by the latest test, ascending
    uint64_t arrived = 0;  // not zero: the latest test met current
    int64_t tests = 0, synapses = 0;  // since `begin_timestep`

    explicit Membranes(const Network& network)
        : net(network), neuron(network), far(network.n_neurons > FEW) {
        const size_t n_tiles = (size_t)((net.n_neurons + TILE - 1) / TILE);
        tiles.assign(n_tiles, Tile{});
        marks.assign(n_tiles, Mark{-1, 0});
        listed.assign(n_tiles, 0);
        if (Neuron::SYNCHRONISED) received.assign(n_tiles * TILE, R(0));
        touched.reserve(n_tiles + 1);
        stale.reserve(n_tiles + 1);
        spiked.reserve(n_tiles * TILE);
        parts.reserve((size_t)net.n_ranges);
    }
    void begin_sample() {
        neuron = Neuron(net);  // numbers may have changed since
        leak.refresh(net.leak, net.leak_step);
        forget_current();
        if (epoch > INT32_MAX / 2) {
            std::fill_n(marks.data(), listed.size(), Mark{-1, 0});
            epoch = 0;
        }
        born = ++epoch;
    }
    // Membranes that an earlier run left, before the leak of the next timestep.
    void resume(const R* v) {
        std::fill_n(marks.data(), listed.size(), Mark{epoch, 0});
        for (int64_t j = 0; j < net.n_neurons; j++) tiles[j / TILE].membrane[j % TILE] = v[j];
    }
    void leave(R* v) {
        for (size_t index = 0; index < listed.size(); index++) bring_up_to_date((int64_t)index);
        for (int64_t j = 0; j < net.n_neurons; j++) v[j] = tiles[j / TILE].membrane[j % TILE];
    }
    void begin_timestep(bool later) {
        epoch += later;
        tests = synapses = 0;
    }

    // Rows of the sources (ascending) onto the current of their targets.
    void deliver(const int32_t* sources, const R* factor, int64_t count) {
        split(sources, factor, count);
        deliver_parts();
    }
    // Delivers, and tests every neuron that took current since the last test.
    void deliver_and_test(const int32_t* sources, const R* factor, int64_t count, Record* tape) {
        spiked.clear();
        arrived = 0;
        if (count && sole(range_of(sources[0]), sources[count - 1]))  // input, or a step of one spike
            return sum_and_test({&range_of(sources[0]), sources, factor, count}, tape);
        split(sources, factor, count);
        if (apart()) {
            for (const Part& part : parts) sum_and_test(part, tape);
            return;
        }
        deliver_parts();
        test_touched(tape);
    }

    // Whether current is left that may make a neuron spike.
    bool excited() const {
        for (int32_t index : touched)
            if (bits_where<positive>(tiles[index].current)) return true;
        return false;
    }
    void forget_current() {
        for (int32_t index : touched) {
            std::fill_n(tiles[index].current, (int)TILE, R(0));
            listed[(size_t)index] = 0;
        }
        touched.clear();
    }
    // Resets a neuron that has spiked; its membrane before.
    R reset(int64_t j) {
        R& v = tiles[j / TILE].membrane[j % TILE];
        const R before = v;
        v = neuron.reset(j, v);
        return before;
    }
    void rest(int64_t j) { marks[j / TILE].resting |= 1u << (j % TILE); }

    // Ask for the rows of a source that will be delivered before long: first for where they are, then for them.
    void fetch_place(int64_t source) const {
        const SourceRange& from = range_of(source);
        for (int64_t b = from.projection_begin; b < from.projection_end; b++)
            if (!net.projections[b].dense) __builtin_prefetch(net.projections[b].ptr + source - from.first);
    }
    void fetch_rows(int64_t source) const {
        const SourceRange& from = range_of(source);
        for (int64_t b = from.projection_begin; b < from.projection_end; b++) {
            const Projection& to = net.projections[b];
            if (to.dense) continue;
            const int64_t begin = to.ptr[source - from.first], end = to.ptr[source - from.first + 1];
            for (int64_t s = begin; s < end; s += LINE / (int64_t)sizeof(int32_t)) __builtin_prefetch(to.targets + s, 0, 2);
            for (int64_t s = begin; s < end; s += LINE / (int64_t)sizeof(R)) __builtin_prefetch(to.weights + s, 0, 2);
        }
    }
    bool is_far() const { return far; }
};
