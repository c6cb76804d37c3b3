#include "common/compute/context.h"

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"
#include "common/compute/cpu/kernels.h"

namespace compute {
namespace {

constexpr int kThreadsMax = 256;

}  // namespace

absl::StatusOr<std::unique_ptr<Context>> Context::Create(const ContextOptions& options) {
  if (options.device != "cpu") {
    return absl::InvalidArgumentError(
        absl::StrFormat("device %s is not there; only \"cpu\" is", options.device));
  }
  if (options.threads < 0 || options.threads > kThreadsMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("threads %d: must be 0 (automatic) to %d", options.threads, kThreadsMax));
  }
  std::unique_ptr<Context> context(new Context());
  context->device_ = ListDevices().front();
  ASSIGN_OR_RETURN(context->isa_, ChooseIsa(options.isa));
  context->kernels_ = &cpu::KernelsFor(context->isa_);
  context->team_ =
      std::make_unique<ThreadTeam>(options.threads > 0 ? options.threads : UsableCores());
  return context;
}

}  // namespace compute
