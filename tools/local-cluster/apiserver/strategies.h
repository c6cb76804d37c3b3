// What the built-in kinds do beyond their schemas.

#pragma once

#include <string_view>

#include "local-cluster/apiserver/kinds.h"

namespace local_cluster {

// Functions only; an empty one for kinds that have nothing of their own.
Strategy StrategyOf(std::string_view group, std::string_view kind);

// A pod template's or pod's spec, as Kubernetes fills it in. `pod`: with what only Pods get.
void SetPodSpecDefaults(boost::json::object& spec);

// Between the two groups of events.
void EventToStorage(boost::json::object& event);
void EventFromStorage(boost::json::object& event);

}  // namespace local_cluster
