// metav1.LabelSelector: matchLabels and matchExpressions.

#pragma once

#include <string>

#include <boost/json/fwd.hpp>

namespace local_cluster {

// Whether `object`'s labels match. An empty selector matches all.
bool MatchesLabelSelector(const boost::json::value& selector, const boost::json::value& object);

// "a=b,c in (d,e)"
std::string LabelSelectorText(const boost::json::value& selector);

}  // namespace local_cluster
