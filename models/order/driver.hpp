// Batches, threads, and what Python calls. Included after a Network and its Worker.
#pragma once
#include <memory>

struct Engine {
    Network net;
    std::vector<std::unique_ptr<Worker>> workers;
    std::vector<Record> records;
    Worker& worker(size_t index) {
        if (!workers[index]) workers[index].reset(new Worker(net));
        return *workers[index];
    }
};

static bool run_sample(Worker& worker, const Run& run, int64_t sample, Record* record) {
    worker.begin_sample(run, sample, record);
    for (int64_t t = 0; t < run.n_steps; t++) {
        if (worker.finished) {
            if (record) record->steps.push_back(0);
            continue;
        }
        worker.begin_timestep(t);
        while (worker.forward_step()) {}
        if (worker.aborted) { run.failure[0] = sample; run.failure[1] = t; return false; }
        worker.end_timestep();
    }
    return true;
}

// The whole batch step by step together, as a dense simulator does: a sample goes on while any other one does.
static bool run_lockstep(Engine& engine, const Run& run) {
    const int64_t n = run.n_samples;
    for (int64_t s = 0; s < n; s++)
        engine.worker((size_t)s).begin_sample(run, s, run.detail ? &engine.records[(size_t)s] : nullptr);
    for (int64_t t = 0; t < run.n_steps; t++) {
        for (int64_t s = 0; s < n; s++) engine.worker((size_t)s).begin_timestep(t);
        for (bool again = true; again;) {
            bool all_stop = true;
            again = false;
            for (int64_t s = 0; s < n; s++) {
                Worker& worker = engine.worker((size_t)s);
                again |= worker.forward_step();
                all_stop &= worker.must_stop();
                if (worker.aborted) { run.failure[0] = s; run.failure[1] = t; return false; }
            }
            if (all_stop) {
                for (int64_t s = 0; s < n; s++) engine.worker((size_t)s).force_stop();
                again = false;
            }
        }
        for (int64_t s = 0; s < n; s++) engine.worker((size_t)s).end_timestep();
    }
    return true;
}

extern "C" {

void* engine_create(const Network* network) {
    Engine* engine = new Engine();
    engine->net = *network;
    return engine;
}
void engine_free(void* handle) { delete (Engine*)handle; }

// 0, or 1 after a failure whose sample and timestep are in run->failure.
int engine_run(void* handle, const Run* run) {
    Engine& engine = *(Engine*)handle;
    const int threads = (int)run->threads;
    const size_t needed = (size_t)(run->lockstep ? run->n_samples : threads);
    if (engine.workers.size() < needed) engine.workers.resize(needed);
    engine.records.resize(run->detail ? (size_t)run->n_samples : 0);
    for (auto& record : engine.records) record.clear();
    if (run->lockstep) return run_lockstep(engine, *run) ? 0 : 1;
    if (threads == 1 || run->n_samples == 1) {
        for (int64_t s = 0; s < run->n_samples; s++)
            if (!run_sample(engine.worker(0), *run, s, run->detail ? &engine.records[(size_t)s] : nullptr)) return 1;
        return 0;
    }
    int64_t failed = run->n_samples;  // the lowest sample that fails is reported, whichever thread comes last
#pragma omp parallel num_threads(threads)
    {
        Worker* worker;
#pragma omp critical
        worker = &engine.worker((size_t)omp_get_thread_num());
#pragma omp for schedule(dynamic)
        for (int64_t s = 0; s < run->n_samples; s++) {
            int64_t lowest;
#pragma omp atomic read
            lowest = failed;
            if (lowest < s) continue;
            int64_t where[2];
            Run own = *run;
            own.failure = where;
            if (run_sample(*worker, own, s, run->detail ? &engine.records[(size_t)s] : nullptr)) continue;
#pragma omp critical
            if (s < failed) {
#pragma omp atomic write
                failed = s;
                run->failure[0] = where[0]; run->failure[1] = where[1];
            }
        }
    }
    return failed < run->n_samples;
}

// Totals over the batch: forward steps, spikes, delivered sources, tested neurons.
void record_sizes(void* handle, int64_t* sizes) {
    std::fill(sizes, sizes + 4, 0);
    for (const auto& record : ((Engine*)handle)->records) {
        sizes[0] += (int64_t)record.spikes_end.size();
        sizes[1] += (int64_t)record.spikes.size();
        sizes[2] += (int64_t)record.group.size();
        sizes[3] += (int64_t)record.received.size();
    }
}
// Joins the samples: steps (n_samples * n_steps,), then three pointer arrays of (forward steps + 1,) and their contents.
void record_copy(void* handle, int32_t* steps, int64_t* spike_ptr, int32_t* spikes, uint8_t* flags, int64_t* group_ptr,
                 int32_t* group, R* multiplicity, int64_t* received_ptr, int32_t* received, R* membrane) {
    int64_t n_spikes = 0, n_group = 0, n_received = 0;
    *spike_ptr++ = *group_ptr++ = *received_ptr++ = 0;
    for (const auto& record : ((Engine*)handle)->records) {
        steps = std::copy(record.steps.begin(), record.steps.end(), steps);
        for (int32_t end : record.spikes_end) *spike_ptr++ = n_spikes + end;
        for (int32_t end : record.groups_end) *group_ptr++ = n_group + end;
        for (int32_t end : record.received_end) *received_ptr++ = n_received + end;
        spikes = std::copy(record.spikes.begin(), record.spikes.end(), spikes);
        flags = std::copy(record.flags.begin(), record.flags.end(), flags);
        group = std::copy(record.group.begin(), record.group.end(), group);
        multiplicity = std::copy(record.multiplicity.begin(), record.multiplicity.end(), multiplicity);
        received = std::copy(record.received.begin(), record.received.end(), received);
        membrane = std::copy(record.membrane.begin(), record.membrane.end(), membrane);
        n_spikes += (int64_t)record.spikes.size();
        n_group += (int64_t)record.group.size();
        n_received += (int64_t)record.received.size();
    }
}
}
