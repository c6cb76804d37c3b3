// Faults by script: which calls go wrong, and how.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/net/http.h"

namespace local_cluster::azure {

// How an operation ends, instead of well.
struct Outcome {
  std::string state = "Failed";
  std::string error_code;
  std::string error_message;
  std::optional<absl::Duration> after;
};

struct FaultAct {
  std::optional<net::Response> answer;  // This one…
  bool apply = false;                   // …though the work is done all the same.
  std::string cut;                      // "before", "after", "mid_body".
  absl::Duration delay = absl::ZeroDuration();
  std::optional<std::string> raw;
  std::optional<Outcome> outcome;
  std::string list;                     // "empty", "loop", "omit", "stale".
  std::vector<std::string> list_pools;  // Of "omit".
};

// Not thread-safe.
class FaultRules {
 public:
  // {id, match: {method, path, pool, nth, times}, act: {…}}; kInvalidArgument names the member.
  absl::Status Add(const boost::json::value& rule);
  bool Remove(const std::string& id);

  // Counts the call, and says what is to go wrong with it.
  std::optional<FaultAct> Match(std::string_view method, std::string_view path,
                                std::string_view pool);

 private:
  struct Rule {
    std::string method;
    std::string path;  // A part of it.
    std::string pool;  // May end in '*'.
    int nth = 1;       // From the n-th matching call on,
    int times = 1;     // so many times; 0: for ever.
    int calls = 0;
    FaultAct act;
  };
  std::map<std::string, Rule> rules_;
};

}  // namespace local_cluster::azure
