// Which (size, zone, capacity type) to try, in which order, and what stands against each.

#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/catalog/gpu_types.h"
#include "gpu-provisioner/arm/agent_pool_client.h"
#include "gpu-provisioner/node_claim.h"
#include "gpu-provisioner/quota.h"

namespace gpu_provisioner {

// A refusal of the cloud that is remembered for a while. Lost at a restart, which costs one try.
struct Mark {
  ErrorClass error_class = ErrorClass::kNone;
  std::string code;
  std::string message;                  // For the user: who refused what, with numbers.
  absl::Duration until;                 // Monotonic.
  std::optional<QuotaNeed> quota_need;  // Of a quota mark: room for this ends it early.
};

// Thread-safe.
class Marks {
 public:
  // Sets what `failure` says about `offering` (of `family`), for as long as its class asks for;
  // does nothing for classes that are no matter of the offering. Returns true if it marked
  // something.
  bool Add(const OfferingRef& offering, const QuotaNeed& need, const ArmFailure& failure,
           std::string message, absl::Duration now);

  // The mark that stands against `offering` now, if any; the one that lasts longest.
  std::optional<Mark> Find(const OfferingRef& offering, std::string_view family,
                           absl::Duration now) const;

  // Ends quota marks for which there is room again. True if any ended.
  bool EndWhereRoom(const Quota& quota);

  // Everything that stands now, by a name for people.
  std::map<std::string, Mark> All(absl::Duration now) const;

 private:
  mutable absl::Mutex mutex_;
  std::map<std::string, Mark> marks_ ABSL_GUARDED_BY(mutex_);
};

enum class BlockedBy { kNothing, kQuota, kMark, kRestriction, kPrice, kPoolLimit };

struct Offering {
  OfferingRef ref;
  const catalog::GpuType* type = nullptr;  // Null: in no table, tried all the same.
  int place = 0;                           // Among those of its size, the order of trying.
  std::optional<double> usd_per_hour;
  QuotaNeed need;
  QuotaCheck quota;
  BlockedBy blocked_by = BlockedBy::kNothing;
  std::string blocked_message;  // One clause for the user.
  ErrorClass mark_class = ErrorClass::kNone;
  std::string mark_code;
  absl::Duration blocked_until = absl::InfiniteDuration();  // Monotonic.
};

struct OfferingInputs {
  const catalog::GpuTypes* types = nullptr;
  const std::map<std::string, SkuFacts>* skus = nullptr;  // Null or empty: not read.
  const Quota* quota = nullptr;
  const Marks* marks = nullptr;
  std::string location;
  bool zonal_first = false;
  bool pool_limit_reached = false;
  int pools_max = 100;
  absl::Duration now;
};

// Best first; blocked ones stay in their place. Sizes that can never serve the request (another
// architecture, too small) are left out.
std::vector<Offering> PlanOfferings(const NodeRequest& request, const OfferingInputs& inputs);

// The type of `size`, with the one alias that Azure's price list uses.
const catalog::GpuType* FindSize(const catalog::GpuTypes& types, std::string_view size);

// By the table; unknown sizes by their name, as the original did.
bool IsGpuSize(const catalog::GpuType* type, std::string_view size);

}  // namespace gpu_provisioner
