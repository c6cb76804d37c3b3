#include "common/compute/rms_norm.h"

#include "common/base/check.h"
#include "common/compute/cpu/for_rows.h"
#include "common/compute/cpu/kernels.h"

namespace compute {

void RmsNorm(const Context& context, const RmsNormArgs& args) {
  CHECK(args.weight.columns == args.x.columns);
  CHECK(args.out.columns == args.x.columns && args.out.rows == args.x.rows);
  cpu::ForRows(context, args.x.rows, args.x.columns, [&](int64_t t) {
    context.kernels().rms_norm(args.x.row(t), args.weight.row(0), args.x.columns, args.epsilon,
                               args.out.row(t));
  });
}

}  // namespace compute
