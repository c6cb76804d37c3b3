// CustomResourceDefinitions: what is wrong with one, and the kind that it makes.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include <boost/json/fwd.hpp>

#include "local-cluster/apiserver/kinds.h"

namespace local_cluster {

void SetCrdDefaults(boost::json::object& crd);
void ValidateCrd(const boost::json::object& crd, const boost::json::object* old,
                 std::vector<ErrorCause>& causes);

// The kind of a CRD that has been validated.
std::shared_ptr<const Kind> KindOfCrd(const boost::json::value& crd);

// What its status should be: accepted names, stored versions, conditions. `now` is for conditions
// that change.
boost::json::object CrdStatus(const boost::json::value& crd, bool established,
                              const std::string& now);

}  // namespace local_cluster
