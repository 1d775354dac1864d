// Batch driver of the SpikingGamma engine: samples over threads, loss at the readout, gradients summed in fixed order.
#pragma once

struct Batch {
    int32_t n_layers, n_samples, n_steps, n_shards, n_threads, analog, gradient, loss;
    const int64_t* ptr;      // (n_samples * n_steps + 1)
    const int32_t* units;
    const R* values;
    const int32_t* labels;   // (n_samples, n_steps), -1: no loss at this step; cross entropy
    const R* targets;        // (n_samples, n_steps, n_out); squared error, or dL/dreadout itself (external)
    const R* weight;         // (n_samples, n_steps): weight of a step in the loss
    R* readout;              // (n_samples, n_steps, n_out) or null
    double* losses;          // (n_samples)
    int64_t* spikes;         // (n_samples, n_layers - 1): spikes of each hidden layer
    int32_t* neuron_spikes;  // (n_samples, total hidden) or null
    R** signals;             // per hidden layer (n_samples, n_steps, n), or null
    R** estimates;           // the same for the estimates
};

enum Loss { NONE = 0, CROSS_ENTROPY = 1, SQUARED_ERROR = 2, EXTERNAL = 3 };

struct Recording {  // spikes of every hidden layer, sample after sample
    std::vector<Events> layers;  // index sample * n_hidden + layer
};

// Loss of one sample and its derivative with respect to the readout.
static double loss_of(const Batch& b, int s, int n_out, const R* x, R* d) {
    const int T = b.n_steps;
    double total = 0;
    for (int t = 0; t < T; t++) {
        const size_t row = (size_t)s * T + t;
        const R weight = b.weight ? b.weight[row] : R(1);
        const R* y = x + (size_t)t * n_out;
        R* g = d + (size_t)t * n_out;
        if (b.loss == EXTERNAL) {
            std::memcpy(g, b.targets + row * n_out, sizeof(R) * n_out);
        } else if (weight == R(0) || (b.loss == CROSS_ENTROPY && b.labels[row] < 0)) {
            std::fill(g, g + n_out, R(0));
        } else if (b.loss == CROSS_ENTROPY) {
            const R top = *std::max_element(y, y + n_out);
            double sum = 0;
            for (int o = 0; o < n_out; o++) sum += g[o] = std::exp(y[o] - top);
            for (int o = 0; o < n_out; o++) g[o] = weight * (g[o] / R(sum) - (o == b.labels[row]));
            total += weight * (std::log(sum) + top - y[b.labels[row]]);
        } else {  // squared error, mean over the outputs
            for (int o = 0; o < n_out; o++) {
                const R difference = y[o] - b.targets[row * n_out + o];
                g[o] = weight * 2 * difference / n_out;
                total += weight * difference * difference / n_out;
            }
        }
    }
    return total;
}

struct Workspace {
    std::vector<Events> events;
    std::vector<std::vector<R>> traces;
    std::vector<R> scratch, readout, d, d_pre, error;
};

static EventView view(const Events& e) { return {e.ptr.data(), e.units.data(), e.values.data()}; }

// Gradients of one shard: own memory, so that the sum over samples is taken in the same order on any number of threads.
struct Shard {
    std::vector<std::vector<R>> store;
    std::vector<R*> weights;     // n_layers * max_weights
    std::vector<R*> parameters, A;
    void allocate(const Layer* layers, int n_layers, int max_weights) {
        weights.assign((size_t)n_layers * max_weights, nullptr);
        parameters.assign(n_layers, nullptr);
        A.assign(n_layers, nullptr);
        auto zeros = [&](size_t n) { store.emplace_back(n, R(0)); return store.back().data(); };
        for (int l = 0; l < n_layers; l++) {
            const Layer& L = layers[l];
            for (int w = 0; w < kind_weights[L.kind]; w++)
                weights[(size_t)l * max_weights + w] = zeros((size_t)L.n_pre * L.n);
            parameters[l] = zeros((size_t)kind_parameters[L.kind] * L.n);
            if (L.grad_A) A[l] = zeros((size_t)kind_buckets[L.kind] * kind_buckets[L.kind]);
        }
    }
};

static void add_to(R* target, const R* source, size_t n) { for (size_t i = 0; i < n; i++) target[i] += source[i]; }

static void run_sample(const Layer* layers, const Batch& b, int s, Workspace& ws, Shard* shard, int max_weights,
                       Recording* recording) {
    const int n = b.n_layers, T = b.n_steps;
    const Layer& last = layers[n - 1];
    ws.events.resize(n);
    ws.traces.resize(n);
    ws.readout.resize((size_t)T * last.n);
    // The sample's slice of ptr starts at its own offset, so units and values keep the batch's origin.
    EventView in = {b.ptr + (size_t)s * T, b.units, b.values};
    size_t hidden_before = 0;
    for (int l = 0; l + 1 < n; l++) {
        const size_t offset = (size_t)s * T * layers[l].n;
        forward(layers[l], in, T, shard != nullptr, b.analog, ws.traces[l], ws.scratch, &ws.events[l],
                b.signals ? b.signals[l] + offset : nullptr, b.estimates ? b.estimates[l] + offset : nullptr);
        if (b.spikes) b.spikes[(size_t)s * (n - 1) + l] = (int64_t)ws.events[l].units.size();
        if (b.neuron_spikes) {
            size_t total = 0;
            for (int k = 0; k + 1 < n; k++) total += layers[k].n;
            int32_t* counts = b.neuron_spikes + s * total + hidden_before;
            for (int32_t unit : ws.events[l].units) counts[unit]++;
            hidden_before += layers[l].n;
        }
        if (recording) recording->layers[(size_t)s * (n - 1) + l] = ws.events[l];
        in = view(ws.events[l]);
    }
    forward(last, in, T, shard != nullptr, false, ws.traces[n - 1], ws.scratch, nullptr, ws.readout.data(), nullptr);
    if (b.readout) std::memcpy(b.readout + (size_t)s * T * last.n, ws.readout.data(), sizeof(R) * T * last.n);
    if (b.loss == NONE) return;
    ws.d.resize((size_t)T * last.n);
    b.losses[s] = loss_of(b, s, last.n, ws.readout.data(), ws.d.data());
    if (!shard) return;
    for (int l = n - 1; l >= 0; l--) {
        const EventView input = l ? view(ws.events[l - 1]) : EventView{b.ptr + (size_t)s * T, b.units, b.values};
        if (l + 1 < n && layers[l].activity != 0)  // mean signal of the layer: each step of each neuron counts the same
            for (R& g : ws.d) g += R(layers[l].activity);
        backward(layers[l], input, T, ws.traces[l], ws.scratch, ws.d.data(), ws.error, ws.d_pre,
                 &shard->weights[(size_t)l * max_weights], shard->parameters[l], shard->A[l]);
        std::swap(ws.d, ws.d_pre);
    }
}

extern "C" {

void* gamma_record(int n_samples, int n_hidden) {
    auto* recording = new Recording;
    recording->layers.resize((size_t)n_samples * n_hidden);
    return recording;
}
int64_t gamma_recorded(void* handle, int index) { return (int64_t)static_cast<Recording*>(handle)->layers[index].units.size(); }
void gamma_copy(void* handle, int index, int64_t* ptr, int32_t* units, R* values) {
    const Events& e = static_cast<Recording*>(handle)->layers[index];
    std::copy(e.ptr.begin(), e.ptr.end(), ptr);
    std::copy(e.units.begin(), e.units.end(), units);
    std::copy(e.values.begin(), e.values.end(), values);
}
void gamma_free(void* handle) { delete static_cast<Recording*>(handle); }

int gamma_run(const Layer* layers, const Batch* batch, int max_weights, void* recording) {
    const Batch& b = *batch;
    const int n_shards = std::max(1, std::min(b.n_shards, b.n_samples));
    std::vector<Shard> shards(b.gradient ? n_shards : 0);
    int failed = 0;
    #pragma omp parallel num_threads(b.n_threads)
    {
        Workspace ws;
        #pragma omp for schedule(dynamic, 1)
        for (int k = 0; k < n_shards; k++) {
            try {
                Shard* shard = b.gradient ? &shards[k] : nullptr;
                if (shard) shard->allocate(layers, b.n_layers, max_weights);
                const int begin = (int)((int64_t)b.n_samples * k / n_shards);
                const int end = (int)((int64_t)b.n_samples * (k + 1) / n_shards);
                for (int s = begin; s < end; s++)
                    run_sample(layers, b, s, ws, shard, max_weights, static_cast<Recording*>(recording));
            } catch (const std::bad_alloc&) {
                #pragma omp atomic write
                failed = 1;
            }
        }
        if (b.gradient && !failed) {
            #pragma omp for schedule(static)
            for (int l = 0; l < b.n_layers; l++) {
                const Layer& L = layers[l];
                for (const Shard& shard : shards) {
                    add_to(L.grad_parameters, shard.parameters[l], (size_t)kind_parameters[L.kind] * L.n);
                    if (L.grad_A) add_to(L.grad_A, shard.A[l], (size_t)kind_buckets[L.kind] * kind_buckets[L.kind]);
                }
            }
            for (int l = 0; l < b.n_layers; l++)
                for (int w = 0; w < kind_weights[layers[l].kind]; w++) {
                    const Layer& L = layers[l];
                    #pragma omp for schedule(static)
                    for (int i = 0; i < L.n_pre; i++)
                        for (const Shard& shard : shards)
                            add_to(L.grad_weights[w] + (size_t)i * L.n,
                                   shard.weights[(size_t)l * max_weights + w] + (size_t)i * L.n, L.n);
                }
        }
    }
    return failed;
}
}
