// Plain structs → messages of provisioner.proto, and a plan's request → a claim.

#pragma once

#include "absl/time/time.h"

#include "gpu-provisioner/offerings.h"
#include "gpu-provisioner/progress.h"
#include "kaito/provisioner/v1/provisioner.pb.h"

namespace gpu_provisioner {

// `now` and `wall` are the same moment on both clocks.
kaito::provisioner::v1::Offering ToMessage(const Offering& offering, absl::Duration now,
                                           absl::Time wall);
kaito::provisioner::v1::Offering ToMessage(const OfferingRef& offering);
kaito::provisioner::v1::InstanceType ToMessage(const catalog::GpuType& type, const SkuFacts* sku);
kaito::provisioner::v1::ExplainResponse ToExplanation(const ClaimState& state, absl::Duration now,
                                                      absl::Time wall);
kaito::provisioner::v1::ClaimProgress ToProgress(const ClaimState& state, absl::Duration now,
                                                 std::optional<double> typical_seconds);

// A claim as the request describes it; its `invalid` says what is wrong.
NodeRequest ToRequest(const kaito::provisioner::v1::PlanRequest& request,
                      std::string_view location);

// What `count` claims like `request` would meet.
kaito::provisioner::v1::PlanResponse ToPlan(const NodeRequest& request,
                                            const std::vector<Offering>& offerings, int count,
                                            int pools_left, absl::Duration now, absl::Time wall);

}  // namespace gpu_provisioner
