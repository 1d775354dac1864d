// Batches, threads, and what Python calls. Included by the generated source, which has a Network and its Worker.
#pragma once
#include "order/worker.hpp"

struct Engine {
    Network net;
    std::vector<std::unique_ptr<Worker>> workers;
    std::vector<Record> records;
    Worker& worker(int64_t index) {
        auto& own = workers[(size_t)index];
        if (!own) own.reset(new Worker(net));
        return *own;
    }
    Record* record(int64_t sample) { return records.empty() ? nullptr : &records[(size_t)sample]; }
};

// Runs a sample; whether it stayed within bounds, else `timestep` says where it did not.
static bool run_sample(Worker& worker, const LoopArguments& run, int64_t sample, Record* record, int64_t& timestep) {
    worker.begin_sample(run, sample, record);
    for (int64_t t = 0; t < run.n_timesteps; t++) {
        if (worker.finished) {
            if (record) record->steps.push_back(0);
            continue;
        }
        worker.begin_timestep(t);
        while (worker.forward_step()) {}
        if (worker.aborted) { timestep = t; return false; }
        worker.end_timestep();
    }
    return true;
}

// The whole batch step by step together, as a dense simulator does: a sample goes on while any other one does.
static bool run_lockstep(Engine& engine, const LoopArguments& run) {
    const int64_t n = run.n_samples;
    for (int64_t s = 0; s < n; s++) engine.worker(s).begin_sample(run, s, engine.record(s));
    for (int64_t t = 0; t < run.n_timesteps; t++) {
        for (int64_t s = 0; s < n; s++) engine.worker(s).begin_timestep(t);
        for (bool again = true; again;) {
            bool all_stop = true;
            again = false;
            for (int64_t s = 0; s < n; s++) {
                Worker& worker = engine.worker(s);
                again |= worker.forward_step();
                all_stop &= worker.must_stop();
                if (worker.aborted) { run.failure[0] = s; run.failure[1] = t; return false; }
            }
            if (all_stop) {
                for (int64_t s = 0; s < n; s++) engine.worker(s).force_stop();
                again = false;
            }
        }
        for (int64_t s = 0; s < n; s++) engine.worker(s).end_timestep();
    }
    return true;
}

// Samples are begun in order, so that whatever the threads the failure reported is that of the lowest one.
static int run_batch(Engine& engine, const LoopArguments& run) {
    int64_t lowest = run.n_samples;
    int status = 0;
#pragma omp parallel num_threads(run.n_samples == 1 ? 1 : (int)run.threads)
    {
        const int thread = omp_get_thread_num();
#pragma omp for schedule(dynamic)
        for (int64_t s = 0; s < run.n_samples; s++) {
            int64_t failed, timestep = 0;
#pragma omp atomic read
            failed = lowest;
            if (s > failed) continue;
            bool fine = false;
            const int caught = guarded([&] { fine = run_sample(engine.worker(thread), run, s, engine.record(s), timestep); });
            if (fine) continue;
#pragma omp critical
            if (s < lowest) {
                status = caught ? caught : RUNAWAY;
                run.failure[0] = s;
                run.failure[1] = timestep;
#pragma omp atomic write
                lowest = s;
            }
        }
    }
    return status;
}

extern "C" {

int engine_create(void** engine) {
    return guarded([&] { *engine = new Engine(); });
}
void engine_free(void* engine) { delete static_cast<Engine*>(engine); }

int engine_run(void* handle, const Network* network, const LoopArguments* arguments) {
    Engine& engine = *static_cast<Engine*>(handle);
    const LoopArguments& run = *arguments;
    int status = 0;
    const int caught = guarded([&] {
        engine.net = *network;
        const size_t needed = (size_t)(run.lockstep ? run.n_samples : run.threads);
        if (engine.workers.size() < needed) engine.workers.resize(needed);
        engine.records.resize(run.detail ? (size_t)run.n_samples : 0);
        for (auto& record : engine.records) record.clear();
        if (run.lockstep) status = run_lockstep(engine, run) ? 0 : RUNAWAY;
        else status = run_batch(engine, run);
    });
    return caught ? caught : status;
}

void record_sizes(void* handle, int64_t* sizes) {
    std::fill(sizes, sizes + 4, 0);
    for (const auto& record : static_cast<Engine*>(handle)->records) {
        sizes[0] += (int64_t)record.spikes_end.size();
        sizes[1] += (int64_t)record.spikes.size();
        sizes[2] += (int64_t)record.group.size();
        sizes[3] += (int64_t)record.received.size();
    }
}
void record_copy(void* handle, const RecordArrays* arrays) {
    RecordArrays to = *arrays;
    const auto copy = [](const auto& from, auto*& at) { at = std::copy(from.begin(), from.end(), at); };
    const auto join = [](const std::vector<int32_t>& ends, int64_t*& at, int64_t& before, size_t size) {
        for (int32_t end : ends) *at++ = before + end;
        before += (int64_t)size;
    };
    int64_t n_spikes = 0, n_group = 0, n_received = 0;
    *to.spike_ptr++ = *to.group_ptr++ = *to.received_ptr++ = 0;
    for (const auto& record : static_cast<Engine*>(handle)->records) {
        copy(record.steps, to.steps);
        join(record.spikes_end, to.spike_ptr, n_spikes, record.spikes.size());
        join(record.groups_end, to.group_ptr, n_group, record.group.size());
        join(record.received_end, to.received_ptr, n_received, record.received.size());
        copy(record.spikes, to.spikes);
        copy(record.flags, to.flags);
        copy(record.group, to.group);
        copy(record.amounts, to.multiplicity);
        copy(record.received, to.received);
        to.membrane = std::copy_n(record.membrane.begin(), record.received.size(), to.membrane);
    }
}
}
