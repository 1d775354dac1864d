// One sample's history, proportional to its events.
#pragma once
#include "native/support.hpp"

struct Record {
    std::vector<int32_t> steps;            // forward steps of each timestep
    std::vector<int32_t> spikes;           // neurons, in processing order
    std::vector<uint8_t> flags;
    std::vector<int32_t> spikes_end, groups_end, received_end;  // per forward step
    std::vector<int32_t> group, received;  // delivered sources; neurons that took current
    std::vector<R> amounts, membrane;      // of the group; membranes just before the test
    void clear() {
        for (auto* list : {&steps, &spikes, &spikes_end, &groups_end, &received_end, &group, &received}) list->clear();
        flags.clear(); amounts.clear(); membrane.clear();
    }
};
