// One group: every neuron is followed from event to event, independently of all others within a slab of time.
#pragma once
#include "hybrid/tape.hpp"

template <class G> struct Neurons : Population {
    static constexpr int NX = G::NX, NQ = G::NQ, NT = G::NT, NH = G::NH, NW = G::NW, NS = G::NS;
    using Step = Stepper<G>;
    // Steps of nonlinear flows are short and many: of SEGMENT of them the tape keeps the lengths and the first state, and
    // the others are computed again on the way back. A maximum stands at a step of its own.
    static constexpr bool SEGMENTED = !G::LINEAR && !G::EXTREME;
    static constexpr int SEGMENT = 32;

    struct Cell {
        double t, open, spiked_at, h, x[NX], scale[NX + 1];
        int64_t interval, last_spike, n_spikes;
        bool active, armed, begun;
        double best, best_t, best_x[NX];  // of the expression whose maximum is wanted, and where on the tape it is
        int64_t best_mark;
        bool best_inside, best_active;
    };

    const HybridArguments& all;
    const HybridGroup& group;
    const int number;
    std::vector<Cell> cells, saved;
    Kept synaptic;  // what synapses hold as their own
    double th[NT], held[NH + 1];
    double terms[TERMS + 1][NX];  // of the step that is looked at, if the flow is linear
    int n_terms = 0;

    Neurons(const HybridArguments& arguments, int k) : all(arguments), group(arguments.groups[k]), number(k) {}
    void save() override { saved = cells, synaptic.undone.clear(); }
    void restore() override { cells = saved, synaptic.restore(); }

    [[noreturn]] void fail(HybridFault fault, int n, double t, double value = 0) { throw Fault(fault, number, n, t, value); }

    void begin() override {
        cells.assign(group.n, Cell{});
        synaptic.now.assign(group.synaptic, group.synaptic + group.n_synaptic);
        for (int n = 0; n < group.n; n++) {
            Cell& c = cells[n];
            for (int j = 0; j < NX; j++) c.x[j] = group.initial[j][n];
            c.active = c.armed = true;
            c.spiked_at = c.best = -std::numeric_limits<double>::infinity();
            c.h = all.duration;
            c.last_spike = -1;
        }
    }

    void gather(int n) {
        for (int j = 0; j + 2 < NT; j++) th[j] = group.theta[j][group.theta_each[j] ? n : 0];
        th[NT - 2] = n, th[NT - 1] = (double)group.n;
    }
    void hold(int n, int64_t interval) {
        for (int j = 0; j < NH; j++)
            held[j] = group.held_each ? group.held[(interval * NH + j) * group.n + n] : group.held[interval * NH + j];
    }
    Place place(bool active) const { return {active ? 1.0 : 0.0, held, th}; }
    double margin(double t, const double* x) const { return G::margin(t, 1, x, held, th); }
    double slope(double t, const double* x) const { return G::slope(t, 1, x, held, th); }
    void synapse(int path, int64_t s, double* w) const {
        const HybridPathway& p = all.pathways[path];
        for (int m = 0; m < p.n_w; m++) w[m] = p.w[m][p.w_each[m] ? s : 0];
        if constexpr (NS > 0)
            for (int m = 0; m < p.n_s; m++) w[p.n_w + m] = synaptic.now[p.state + s * p.n_s + m];
    }

    // Root of a function that rises from g(lo) <= 0 to g(hi) > 0, by Newton's method kept inside the bracket.
    template <class F> static double root(F f, double lo, double hi, double guess) {
        double s = guess, before = hi - lo;
        for (int k = 0; k < 200; k++) {
            if (!(s > lo && s < hi)) s = 0.5 * (lo + hi);
            const auto [g, rise] = f(s);
            if (g == 0) return s;
            (g > 0 ? hi : lo) = s;
            double next = s - g / rise;
            if (!(next >= lo && next <= hi) || (k > 4 && std::fabs(next - s) > 0.5 * before)) next = 0.5 * (lo + hi);
            before = std::fabs(next - s);
            if (before <= 2e-16 * std::fabs(s) || hi - lo <= 2e-16 * hi) return next;
            s = next;
        }
        return s;
    }

    // State at a part of the step that is looked at.
    void along(const Cell& c, const Place& at, double h, double d, double* x) const {
        if constexpr (G::LINEAR) {
            const double u = d / h;
            for (int j = 0; j < NX; j++) {
                double sum = terms[n_terms - 1][j];
                for (int k = n_terms - 2; k >= 0; k--) sum = sum * u + terms[k][j];
                x[j] = sum;
            }
        } else {
            Step::advance(c.t, at, c.x, d, x);
        }
    }

    // First time within a step at which the threshold is crossed from below, or a negative number.
    double crossing(Sample& s, Cell& c, const Place& at, const double* x1, double h) {
        double g[TERMS + 1] = {};
        const auto threshold = [&](double d) {
            if constexpr (G::FLAT) {  // a polynomial like the states
                const double u = d / h;
                double sum = 0, rise = 0;
                for (int k = n_terms - 1; k >= 0; k--) rise = rise * u + sum, sum = sum * u + g[k];
                return std::pair(sum, rise / h);
            } else {
                double x[NX];
                along(c, at, h, d, x);
                return std::pair(margin(c.t + d, x), slope(c.t + d, x));
            }
        };
        const double g1 = margin(c.t + h, x1), g0 = margin(c.t, c.x);
        if (!c.armed) {
            c.armed = g1 <= 0;
            return -1;
        }
        const double s0 = slope(c.t, c.x);
        if (g0 >= 0 && s0 > 0) return 0;
        const double s1 = slope(c.t + h, x1);
        if (!(g1 > 0) && !(s0 > 0 && s1 < 0)) return -1;
        if constexpr (G::FLAT) {
            double weight[NX] = {}, unused[NQ + 1];
            G::margin_back(c.t, 1, c.x, held, th, 1, weight, unused);
            g[0] = g0;
            for (int k = 1; k < n_terms; k++)
                for (int j = 0; j < NX; j++) g[k] += weight[j] * terms[k][j];
        }
        if (g1 > 0) return root(threshold, 0, h, h * g0 / (g0 - g1));
        double lo = 0, hi = h;  // it rises and falls again: where is its top?
        double before = s0, after = s1;
        for (int k = 0; k < 100 && hi - lo > 1e-12 * h; k++) {
            double d = k % 3 == 2 ? 0.5 * (lo + hi) : lo + (hi - lo) * before / (before - after);
            if (!(d > lo && d < hi)) d = 0.5 * (lo + hi);
            const auto [most, rise] = threshold(d);
            if (most > 0) return root(threshold, 0, d, 0.5 * d);
            (rise > 0 ? lo : hi) = d;
            (rise > 0 ? before : after) = rise;
            s.nearest = std::max(s.nearest, most);
            if (most + std::fabs(rise) * (hi - lo) < 0 || rise == 0) break;  // the slope falls to zero at the top
        }
        return -1;
    }

    void remember(Cell& c, const double* x) {
        for (int j = 0; j < NX; j++) c.scale[j] = std::max(c.scale[j], std::fabs(x[j]));
    }

    // Length of the next step, its end in x1.
    double attempt(Sample& s, Cell& c, int n, const Place& at, double left, double* x1) {
        double h = std::min(c.h, left);
        if constexpr (G::LINEAR) {
            while (!(n_terms = Step::series(c.t, at, c.x, h, terms, x1))) {
                h *= 0.5;
                if (!(h > 1e-18 * all.duration)) fail(NOT_FINITE, n, c.t);
                c.h = h;
            }
            if (n_terms < TERMS - 8 && h == c.h) c.h *= 2;
        } else {
            bool again = false;
            for (;;) {
                const double error = Step::attempt(c.t, at, c.x, h, all.tolerance, c.scale, x1);
                const double factor = error > 0 ? 0.9 * std::pow(error, -0.125) : 10;
                if (error <= 1) {
                    if (h >= c.h || factor < 1) c.h = h * std::min(again ? 1.0 : 10.0, std::max(factor, 0.2));
                    break;
                }
                h *= std::isfinite(error) ? std::max(factor, 0.2) : 0.1, again = true;
                c.h = h;
                if (!(h > 1e-18 * all.duration)) fail(NOT_FINITE, n, c.t);
            }
            remember(c, x1);
        }
        for (int j = 0; j < NX; j++)
            if (!std::isfinite(x1[j])) fail(NOT_FINITE, n, c.t);
        return h;
    }

    // Follow a neuron to `end`, or to the spike before it.
    bool fly(Sample& s, Cell& c, int n, double end) {
        const Place at = place(c.active);
        int64_t steps = 0;
        const auto close = [&] {
            if (steps) s.tape.marks.push_back(steps), s.tape.close(STEP, c.active, c.interval);
            steps = 0;
        };
        while (c.t < end) {
            double x1[NX], h = attempt(s, c, n, at, end - c.t, x1);
            const double whole = h;  // of which a spike takes a part
            double next = h == end - c.t ? end : c.t + h;
            bool spike = false;
            if (G::SPIKES && c.active) {
                const double found = crossing(s, c, at, x1, h);
                if (found == 0) return close(), true;
                if (found > 0) {
                    along(c, at, h, found, x1);
                    spike = true, h = found, next = c.t + h;
                }
            }
            if constexpr (G::RUNNING) {
                const double part = Step::integral(c.t, at, c.x, h);
                s.loss += part;
                c.scale[NX] = std::max(c.scale[NX], std::fabs(part));
            }
            if constexpr (G::EXTREME) look_inside(s, c, at, x1, h, whole);
            if (!SEGMENTED || !steps) s.tape.push(c.x, NX), s.tape.numbers.push_back(c.t);
            s.tape.numbers.push_back(h);
            if (!SEGMENTED)
                s.tape.close(STEP, c.active, c.interval);
            else if (++steps == SEGMENT)
                close();
            c.t = next;
            for (int j = 0; j < NX; j++) c.x[j] = x1[j];
            if constexpr (G::EXTREME) look(s, c, c.t, c.x);
            if (spike) return close(), true;
        }
        close();
        return false;
    }

    void look(const Sample& s, Cell& c, double t, const double* x, bool inside = false) {
        const double value = G::extreme(t, c.active, x, held, th);
        if (!(value > c.best)) return;
        c.best = value, c.best_t = t, c.best_mark = (int64_t)s.tape.marks.size(), c.best_inside = inside, c.best_active = c.active;
        for (int j = 0; j < NX; j++) c.best_x[j] = x[j];
    }
    void look_inside(Sample& s, Cell& c, const Place& at, const double* x1, double h, double whole) {
        const auto falls = [&](double t, const double* x) { return -G::extreme_rate(t, at.gate, x, held, th); };
        if (!(falls(c.t, c.x) < 0 && falls(c.t + h, x1) > 0)) return;
        double lo = 0, hi = h, x[NX], a = falls(c.t, c.x), b = falls(c.t + h, x1), d = 0;
        for (int k = 0; k < 100 && hi - lo > 1e-14 * h; k++) {
            d = k % 3 == 2 ? 0.5 * (lo + hi) : lo - (hi - lo) * a / (b - a);
            if (!(d > lo && d < hi)) d = 0.5 * (lo + hi);
            along(c, at, whole, d, x);
            const double f = falls(c.t + d, x);
            if (f == 0) break;
            (f < 0 ? lo : hi) = d;
            (f < 0 ? a : b) = f;
        }
        along(c, at, whole, d, x);
        look(s, c, c.t + d, x, true);
    }

    // Whether an event leaves the neuron above its threshold, so that it spikes once all events of this time are taken.
    bool lifted(Cell& c, bool was) const {
        if (!G::SPIKES || !c.active) return was;
        if (margin(c.t, c.x) > 0) return was || c.armed;
        c.armed = true;
        return false;
    }

    void spike(Sample& s, Cell& c, int n, Record kind) {
        if (c.spiked_at == c.t) fail(TWICE, n, c.t);
        double after[NX];
        G::reset(c.t, 1, c.x, held, th, after);
        if (kind == SPIKE) {
            const double rise = slope(c.t, c.x);
            if (!(rise > 0)) fail(std::isfinite(rise) ? GRAZING : NOT_FINITE, n, c.t, rise);
            s.least_slope = std::min(s.least_slope, rise);
        }
        if (++c.n_spikes > all.max_spikes) fail(RUNAWAY, n, c.t);
        s.loss += G::at_spike(c.t, 1, c.x, held, th);
        s.tape.push(c.x, NX);
        s.tape.numbers.push_back(c.t);
        s.tape.marks.push_back((int64_t)s.spikes.size());
        c.last_spike = (int64_t)s.spikes.size();
        c.spiked_at = c.t;
        s.spikes.push_back({number, n, c.t});
        if (G::REARMS) {
            c.armed = false;
        } else if (G::GATES) {
            const double period = G::period(c.t, 1, c.x, held, th);
            if (!(std::isfinite(period) && period >= 0)) fail(BAD_PERIOD, n, c.t, period);
            c.active = false;
            c.open = c.t + period;
        } else {
            const double left = margin(c.t, after);
            if (left > 0 || left >= margin(c.t, c.x)) fail(STILL_ABOVE, n, c.t, left);
        }
        s.tape.close(kind, c.active, c.interval);
        for (int j = 0; j < NX; j++) c.x[j] = after[j];
        if constexpr (G::EXTREME) look(s, c, c.t, c.x);
    }

    void walk(Sample& s, double b, bool closed, const std::vector<Spike>& forced) override {
        std::sort(rows.begin(), rows.end(), [](const Row& x, const Row& y) { return sooner(x, y); });
        std::sort(points.begin(), points.end(), [](const Point& x, const Point& y) {
            return x.target != y.target ? x.target < y.target : sooner(x, y);
        });
        size_t point = 0;
        for (int n = 0; n < group.n; n++) {
            const size_t first = point;
            while (point < points.size() && points[point].target == n) point++;
            gather(n);
            hold(n, cells[n].interval);
            s.tape.close(START, 0, 0);
            follow(s, cells[n], n, b, closed, rows.data(), rows.data() + rows.size(), points.data() + first,
                   points.data() + point);
            for (const Spike& f : forced)
                if (f.group == number && f.neuron == n && f.t == b && cells[n].spiked_at != b) spike(s, cells[n], n, SPIKE);
            s.tape.marks.push_back(n);
            s.tape.marks.push_back(number);
            s.tape.close(END, 0, 0);
        }
    }

    void follow(Sample& s, Cell& c, int n, double b, bool closed, const Row* row, const Row* last_row, const Point* point,
                const Point* last, bool induced = false) {
        const double inf = std::numeric_limits<double>::infinity();
        if (!c.begun) {
            c.begun = true;
            for (int j = 0; j < NX; j++)
                if (!std::isfinite(c.x[j])) fail(NOT_FINITE, n, 0);
            remember(c, c.x);
            induced = lifted(c, false);
            if constexpr (G::EXTREME) look(s, c, c.t, c.x);
        }
        for (;;) {
            double next = inf;
            Record kind = END;
            if (G::GATES && !c.active && c.open < next) next = c.open, kind = OPEN;
            if (c.interval < group.n_breaks && group.breaks[c.interval] < next) next = group.breaks[c.interval], kind = INPUT;
            const bool by_row = row < last_row && (point == last || !point_first(*point, *row, n));
            const double arrival = by_row ? row->t : (point < last ? point->t : inf);
            if (arrival < next) next = arrival, kind = ARRIVAL;
            if (!(next < b || (closed && next == b))) next = b, kind = END;
            if (induced && (kind == END || next > c.t)) {
                induced = false;
                if (c.active && margin(c.t, c.x) > 0) spike(s, c, n, INDUCED);
                continue;
            }
            if (next > c.t && fly(s, c, n, next)) {
                spike(s, c, n, SPIKE);
                continue;
            }
            if (kind == END) return;
            if (kind == ARRIVAL && by_row) {
                arrive(s, c, row->path, row->first + n, row->spike);
                row++;
            } else if (kind == ARRIVAL) {
                arrive(s, c, point->path, point->synapse, point->spike);
                point++;
            } else {
                s.tape.push(c.x, NX);
                s.tape.numbers.push_back(c.t);
                if (kind == OPEN) c.active = true, s.tape.marks.push_back(c.last_spike);
                if (kind == INPUT) hold(n, ++c.interval);
                s.tape.close(kind, c.active, c.interval);
            }
            if (!G::LINEAR) remember(c, c.x);
            induced = lifted(c, induced);
            if constexpr (G::EXTREME) look(s, c, c.t, c.x);
        }
    }
    void arrive(Sample& s, Cell& c, int path, int64_t at, int32_t spike) {
        double w[NW + 1], after[NX + NS];
        const HybridPathway& p = all.pathways[path];
        const int64_t own = p.state + at * p.n_s;
        if constexpr (NS > 0) s.tape.push(synaptic.now.data() + own, (int)p.n_s);
        s.tape.push(c.x, NX);
        s.tape.numbers.push_back(c.t);
        s.tape.marks.push_back(spike);
        s.tape.marks.push_back(at);
        s.tape.marks.push_back(path);
        synapse(path, at, w);
        G::jump((int)p.number, c.t, c.active, c.x, held, th, w, after);
        for (int j = 0; j < NX; j++) c.x[j] = after[j];
        if constexpr (NS > 0)
            for (int m = 0; m < p.n_s; m++) synaptic.set(own + m, after[NX + m], this->looped);
        s.tape.close(ARRIVAL, c.active, c.interval);
    }
    static bool point_first(const Point& p, const Row& r, int n) {
        if (p.t != r.t) return p.t < r.t;
        return p.path != r.path ? p.path < r.path : p.synapse < r.first + n;
    }

    void finish(Sample& s, double* final_state, double* maxima) override {
        for (int n = 0; n < group.n; n++) {
            Cell& c = cells[n];
            gather(n);
            hold(n, c.interval);
            s.loss += G::at_end(all.duration, c.active, c.x, held, th);
            for (int j = 0; j < NX; j++) final_state[n * NX + j] = c.x[j];
            if (maxima) maxima[n] = c.best;
        }
    }
};
