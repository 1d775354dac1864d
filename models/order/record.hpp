// One sample's history, proportional to its events.
#pragma once
#include "native/array.hpp"

struct Record {
    enum { LANE_ROOM = 16 };
    std::vector<int32_t> steps;            // forward steps of each timestep
    std::vector<int32_t> spikes;           // neurons, in processing order
    std::vector<uint8_t> flags;
    std::vector<int32_t> spikes_end, groups_end, received_end;  // per forward step
    std::vector<int32_t> group;            // delivered sources
    std::vector<R> amounts;
    List received;                         // neurons that took current
    std::vector<R> membrane;               // just before the test, with room beyond the end
    void clear() {
        for (auto* list : {&steps, &spikes, &spikes_end, &groups_end, &received_end, &group}) list->clear();
        flags.clear(); amounts.clear(); received.clear();
    }
    void make_room(size_t more) {
        if (received.size() + more + LANE_ROOM <= membrane.size()) return;
        membrane.resize(2 * membrane.size() + more + LANE_ROOM);
        received.reserve(membrane.size());
    }
};
