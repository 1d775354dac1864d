// The adjoint of one group: the records of the tape from the last to the first, p = dL/dx, kappa = dL/d(event time).
#pragma once
#include "hybrid/neurons.hpp"

template <class G> struct Reversible : Neurons<G> {
    using Base = Neurons<G>;
    using Base::NX, Base::NQ, Base::NH, Base::NW, Base::NS, Base::all, Base::group, Base::number, Base::cells, Base::held, Base::th,
        Base::gather, Base::hold, Base::place, Base::slope, Base::synapse, Base::synaptic,
        Base::SEGMENTED, Base::SEGMENT;
    using Base::Base;
    using Cell = typename Base::Cell;
    using Step = Stepper<G>;

    struct Adjoint {
        double p[NX], caused;  // `caused`: kappa of an induced spike, which belongs to the event that induced it
        bool taken;            // the maximum's derivative is in p
    };
    std::vector<Adjoint> adjoints;
    std::vector<double> maximum, p_synaptic;
    double q[NQ + 1];

    void begin_backward(Sample& s, const double* final_state, const double* maxima, double* sums) override {
        adjoints.assign(group.n, Adjoint{});
        maximum.assign(group.n, 0.0);
        p_synaptic.assign(group.n_synaptic, 0.0);
        for (int n = 0; n < group.n; n++) {
            Cell& c = cells[n];
            Adjoint& a = adjoints[n];
            gather(n);
            hold(n, c.interval);
            for (double& v : q) v = 0;
            if (final_state)
                for (int j = 0; j < NX; j++) a.p[j] = final_state[n * NX + j];
            if (maxima) maximum[n] = maxima[n];
            G::at_end_back(all.duration, c.active, c.x, held, th, s.weight, a.p, q);
            add_q(n, sums);
        }
    }
    void add_q(int n, double* sums) const {
        if (sums)
            for (int k = 0; k < NQ; k++) sums[k * group.n + n] += q[k];
    }

    void backward(Sample& s, int n, Sums& sums) override {
        const Cell& c = cells[n];
        Adjoint& a = adjoints[n];
        gather(n);
        for (double& v : q) v = 0;
        for (;;) {
            double sampled = take_maximum(s, c, a, n, false);
            const int64_t mark = s.tape.pop_mark();
            const Record kind = Record(mark & 7);
            if (kind == START) break;
            const bool active = mark >> 3 & 1;
            const int64_t interval = mark >> 4;
            if (kind == STEP)
                step(s, c, a, n, active, interval);
            else
                event(s, c, a, n, kind, active, interval, sampled, sums);
            for (int j = 0; j < NX; j++)
                if (!std::isfinite(a.p[j])) this->fail(ADJOINT, n, c.t);
        }
        add_q(n, sums.q.empty() || sums.q[number].empty() ? nullptr : sums.q[number].data());
    }

    // Where the tape is as long as it was when the largest value was met, its derivative is added to p; returned is
    // its rate, by which it moves with an event that it stands at.
    double take_maximum(Sample& s, const Cell& c, Adjoint& a, int n, bool inside) {
        if constexpr (G::EXTREME) {
            if (a.taken || c.best_inside != inside || (int64_t)s.tape.marks.size() != c.best_mark || maximum[n] == 0) return 0;
            a.taken = true;
            G::extreme_back(c.best_t, c.best_active, c.best_x, held, th, maximum[n], a.p, q);
            return inside ? 0 : maximum[n] * G::extreme_rate(c.best_t, c.best_active, c.best_x, held, th);
        }
        return 0;
    }

    void step(Sample& s, const Cell& c, Adjoint& a, int n, bool active, int64_t interval) {
        hold(n, interval);
        const Place at = place(active);
        if constexpr (SEGMENTED) {
            double t[SEGMENT], h[SEGMENT], x[SEGMENT][NX];
            const int64_t steps = s.tape.pop_mark();
            s.tape.pop(h, steps);
            t[0] = s.tape.pop();
            s.tape.pop(x[0], NX);
            for (int64_t k = 1; k < steps; k++) {
                t[k] = t[k - 1] + h[k - 1];
                Step::advance(t[k - 1], at, x[k - 1], h[k - 1], x[k]);
            }
            for (int64_t k = steps; k-- > 0;) Step::reverse(t[k], at, x[k], h[k], a.p, s.weight, q);
            return;
        }
        double x[NX];
        const double h = s.tape.pop(), t = s.tape.pop();
        s.tape.pop(x, NX);
        double until = h;
        if constexpr (G::EXTREME) {
            if (c.best_inside && !a.taken && (int64_t)s.tape.marks.size() == c.best_mark) {
                until = c.best_t - t;
                Step::reverse(c.best_t, at, c.best_x, h - until, a.p, s.weight, q);
                take_maximum(s, c, a, n, true);
            }
        }
        Step::reverse(t, at, x, until, a.p, s.weight, q);
    }

    void event(Sample& s, const Cell& c, Adjoint& a, int n, Record kind, bool active, int64_t interval, double sampled,
               Sums& sums) {
        double x[NX], after[NX], rate[NX], px[NX + NS] = {}, pw[NW + 1] = {}, w[NW + 1], held_after[NH + 1];
        int path = -1;
        int64_t at = -1, spike = -1;
        if (kind == ARRIVAL) path = (int)s.tape.pop_mark(), at = s.tape.pop_mark();
        if (kind != INPUT) spike = s.tape.pop_mark();
        const double t = s.tape.pop();
        s.tape.pop(x, NX);
        int64_t own = 0, n_s = 0;
        if constexpr (NS > 0)
            if (kind == ARRIVAL) {
                n_s = all.pathways[path].n_s, own = all.pathways[path].state + at * n_s;
                s.tape.pop(synaptic.now.data() + own, (int)n_s);
            }
        const bool before = kind == OPEN ? false : (kind == SPIKE || kind == INDUCED ? true : active);
        hold(n, interval);
        for (int j = 0; j < NH; j++) held_after[j] = held[j];
        if (kind == INPUT) hold(n, interval - 1);
        if (kind == SPIKE || kind == INDUCED) {
            G::reset(t, 1, x, held, th, after);
        } else if (kind == ARRIVAL) {
            synapse(path, at, w);
            double every[NX + NS];
            G::jump((int)all.pathways[path].number, t, before, x, held, th, w, every);
            for (int j = 0; j < NX; j++) after[j] = every[j];
        } else {
            for (int j = 0; j < NX; j++) after[j] = x[j];
        }
        // kappa: what is lost and won when the event moves
        double kappa = sampled + a.caused;
        a.caused = 0;
        G::flow(t, active, after, held_after, th, rate);
        for (int j = 0; j < NX; j++) kappa -= a.p[j] * rate[j];
        if constexpr (G::RUNNING)
            kappa += s.weight * (G::running(t, before, x, held, th) - G::running(t, active, after, held_after, th));
        if constexpr (G::EXTREME)
            if (!a.taken && !c.best_inside && (int64_t)s.tape.marks.size() == c.best_mark)
                kappa += maximum[n] * G::extreme_rate(t, before, x, held, th);
        if (kind == ARRIVAL) {
            const int k = (int)all.pathways[path].number;
            double p[NX + NS];
            for (int j = 0; j < NX; j++) p[j] = a.p[j];
            for (int m = 0; m < n_s; m++) p[NX + m] = p_synaptic[own + m];
            kappa += G::jump_rate(k, t, before, x, held, th, w, p);
            G::jump_back(k, t, before, x, held, th, w, p, px, pw, q);
            for (int m = 0; m < n_s; m++) p_synaptic[own + m] = px[NX + m];
            for (int m = 0; m < all.pathways[path].n_w; m++)
                if (auto& sum = sums.w[path * sums.max_w + m]; !sum.empty()) sum[sum.size() > 1 ? at : 0] += pw[m];
            if (auto& sum = sums.delay[path]; !sum.empty()) sum[sum.size() > 1 ? at : 0] += kappa;
            s.kappa[spike] += kappa;
        } else if (kind == OPEN) {
            G::flow(t, before, x, held, th, rate);
            for (int j = 0; j < NX; j++) px[j] = a.p[j], kappa += a.p[j] * rate[j];
            G::period_back(t, 1, x, held, th, kappa, q);
            s.kappa[spike] += kappa;
        } else if (kind == INPUT) {
            for (int j = 0; j < NX; j++) px[j] = a.p[j];
        } else {
            kappa += s.kappa[spike] + G::reset_rate(t, 1, x, held, th, a.p) + s.weight * G::at_spike_rate(t, 1, x, held, th);
            G::reset_back(t, 1, x, held, th, a.p, px, q);
            G::at_spike_back(t, 1, x, held, th, s.weight, px, q);
            if (kind == INDUCED)
                a.caused = kappa;
            else
                G::margin_back(t, 1, x, held, th, -kappa / slope(t, x), px, q);
        }
        for (int j = 0; j < NX; j++) a.p[j] = px[j];
    }

    void finish_backward(Sums& sums) override {
        if (!sums.synaptic.empty() && !sums.synaptic[number].empty())
            for (int64_t k = 0; k < group.n_synaptic; k++) sums.synaptic[number][k] += p_synaptic[k];
        if (sums.initial.empty() || sums.initial[number].empty()) return;
        for (int n = 0; n < group.n; n++)
            for (int j = 0; j < NX; j++) sums.initial[number][j * group.n + n] += adjoints[n].p[j];
    }
};
