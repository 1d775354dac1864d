// The loop around the run of a Brian 2 C++ standalone program: samples come in on standard input and answers go out on
// standard output; between two samples everything that a run changes is put back.
#pragma once
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace service {

// Whole messages over file descriptors; a closed pipe ends the program, it has nobody to work for.
inline void read_all(void* to, size_t n) {
    for (char* place = static_cast<char*>(to); n > 0;) {
        const ssize_t got = ::read(0, place, n);
        if (got <= 0) std::_Exit(0);
        place += got, n -= static_cast<size_t>(got);
    }
}
inline void write_all(int to, const std::string& text) {
    for (size_t done = 0; done < text.size();) {
        const ssize_t put = ::write(to, text.data() + done, text.size() - done);
        if (put <= 0) std::_Exit(0);
        done += static_cast<size_t>(put);
    }
}
template <class T>
void append(std::string& text, const T* values, size_t n) {
    if (n) text.append(reinterpret_cast<const char*>(values), n * sizeof(T));
}

// An array of the program.
struct Place {
    virtual ~Place() = default;
    virtual void keep() {}
    virtual void restore() {}
    virtual void set(const std::string&) { throw std::runtime_error("this array cannot be set"); }
    virtual void get(std::string&) {}
};

template <class T>
struct Fixed : Place {
    T* data;
    size_t n;
    std::vector<T> kept;
    Fixed(T* data, size_t n) : data(data), n(n) {}
    void keep() override { kept.assign(data, data + n); }
    void restore() override { std::copy(kept.begin(), kept.end(), data); }
    void set(const std::string& bytes) override {
        if (bytes.size() != n * sizeof(T)) throw std::runtime_error("an array has another size than the program's");
        if (n) std::memcpy(data, bytes.data(), bytes.size());
    }
    void get(std::string& text) override { append(text, data, n); }
};

// An array of zeros with few entries: places, then values.
struct Sparse : Place {
    double* data;
    size_t n;
    std::vector<int64_t> places;
    Sparse(double* data, size_t n) : data(data), n(n) {}
    void restore() override {
        for (int64_t place : places) data[place] = 0;
        places.clear();
    }
    void set(const std::string& bytes) override {
        const size_t entries = bytes.size() / (sizeof(int64_t) + sizeof(double));
        std::vector<int64_t> found(entries);
        if (entries) std::memcpy(found.data(), bytes.data(), entries * sizeof(int64_t));
        for (int64_t place : found)
            if (place < 0 || static_cast<size_t>(place) >= n) throw std::runtime_error("an event lies outside the input");
        restore();
        for (size_t k = 0; k < entries; k++) {
            double value;
            std::memcpy(&value, bytes.data() + entries * sizeof(int64_t) + k * sizeof(double), sizeof value);
            data[found[k]] += value;
        }
        places = found;
    }
};

template <class T>
struct Dynamic : Place {
    std::vector<T>& data;
    std::vector<T> kept;
    explicit Dynamic(std::vector<T>& data) : data(data) {}
    void keep() override { kept = data; }
    void restore() override { data = kept; }
    void set(const std::string& bytes) override {
        data.resize(bytes.size() / sizeof(T));
        if (!data.empty()) std::memcpy(data.data(), bytes.data(), bytes.size());
    }
    void get(std::string& text) override { append(text, data.data(), data.size()); }
};

// What a StateMonitor recorded: time by neuron, as long as the monitor's times. Of Brian 2's table only the access to an
// element is the same in all its versions.
template <class Table>
struct Recorded : Place {
    Table& data;
    const std::vector<double>& times;
    const int columns;
    Recorded(Table& data, const std::vector<double>& times, int columns) : data(data), times(times), columns(columns) {}
    void get(std::string& text) override {
        for (int row = 0; row < static_cast<int>(times.size()); row++)
            for (int column = 0; column < columns; column++) append(text, &data(row, column), 1);
    }
};

// Spikes on their way when the sample ended; `prepare` is Brian 2's own and reads the delays.
template <class Pathway>
struct Queue : Place {
    Pathway& pathway;
    void (*prepare)();
    Queue(Pathway& pathway, void (*prepare)()) : pathway(pathway), prepare(prepare) {}
    void keep() override { prepare(); }
    void restore() override {
        for (auto* queue : pathway.queue) {
            for (auto& waiting : queue->queue) waiting.clear();
            queue->offset = 0;
        }
    }
};

// Synapses of every neuron; what lies side by side and reaches neighbours is one run.
struct Rows {
    struct Run {
        size_t first;
        int target, size;
    };
    std::vector<std::vector<Run>> of;
    Rows(const std::vector<int>& pre, const std::vector<int>& post, size_t n) : of(n) {
        for (size_t k = 0; k < pre.size(); k++) {
            std::vector<Run>& runs = of[static_cast<size_t>(pre[k])];
            const bool next = !runs.empty() && runs.back().first + static_cast<size_t>(runs.back().size) == k &&
                              runs.back().target + runs.back().size == post[k];
            if (next) runs.back().size++;
            else runs.push_back({k, post[k], 1});
        }
    }
};

struct Callback : Place {
    void (*function)();
    explicit Callback(void (*function)()) : function(function) {}
    void restore() override { function(); }
};

enum Kind : int64_t { PARAMETERS = 0, SAMPLE = 1 };

class Program {
    double& t;
    const int out;
    std::vector<std::unique_ptr<Place>> places;
    std::vector<size_t> read, changing;
    std::clock_t began = 0;
    bool kept = false;

    void reply(int64_t status, double seconds, const std::vector<std::string>& parts) const {
        std::string text;
        const int64_t n = static_cast<int64_t>(parts.size());
        append(text, &status, 1), append(text, &seconds, 1), append(text, &n, 1);
        for (const std::string& part : parts) {
            const int64_t size = static_cast<int64_t>(part.size());
            append(text, &size, 1);
        }
        for (const std::string& part : parts) text += part;
        write_all(out, text);
    }

public:
    // Whatever the program prints goes to the standard error stream.
    explicit Program(double& t) : t(t), out(::dup(1)) { ::dup2(2, 1); }

    // `changes`: a run, or a sample, changes it.
    void add(Place* place, bool changes) {
        if (changes) changing.push_back(places.size());
        places.emplace_back(place);
    }
    void reads(size_t place) { read.push_back(place); }

    // Waits for a sample; parameters before it stay for all that follow.
    void next() {
        if (!kept) {
            for (size_t k : changing) places[k]->keep();
            kept = true;
        }
        for (;;) {
            int64_t head[2];  // kind, number of arrays
            read_all(head, sizeof head);
            std::vector<int64_t> sizes(2 * static_cast<size_t>(head[1]));  // place, bytes
            if (!sizes.empty()) read_all(sizes.data(), sizes.size() * sizeof(int64_t));
            std::vector<std::string> arrays;
            for (size_t k = 0; k < sizes.size(); k += 2) {
                arrays.emplace_back(static_cast<size_t>(sizes[k + 1]), '\0');
                if (sizes[k + 1]) read_all(&arrays.back()[0], arrays.back().size());
            }
            try {
                for (size_t k : changing) places[k]->restore();
                for (size_t k = 0; k < arrays.size(); k++) {
                    Place& place = *places.at(static_cast<size_t>(sizes[2 * k]));
                    place.set(arrays[k]);
                }
                if (head[0] == PARAMETERS)
                    for (size_t k : changing) places[k]->keep();
            } catch (const std::exception& error) {
                failed(error);
                continue;
            }
            if (head[0] == SAMPLE) break;
            reply(0, 0.0, {});
        }
        t = 0;
        began = std::clock();
    }
    void answer() {
        const double took = static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC;
        std::vector<std::string> parts;
        for (size_t place : read) {
            parts.emplace_back();
            places[place]->get(parts.back());
        }
        reply(0, took, parts);
    }
    void failed(const std::exception& error) { reply(1, 0.0, {error.what()}); }
};

}  // namespace service
