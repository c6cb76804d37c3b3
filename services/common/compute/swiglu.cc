#include "common/compute/swiglu.h"

#include "common/base/check.h"
#include "common/compute/cpu/for_rows.h"
#include "common/compute/cpu/kernels.h"

namespace compute {

void SwiGlu(const Context& context, const SwiGluArgs& args) {
  CHECK(args.gate.columns == args.up.columns && args.gate.columns == args.out.columns);
  CHECK(args.gate.rows == args.up.rows && args.gate.rows == args.out.rows);
  cpu::ForRows(context, args.gate.rows, args.gate.columns, [&](int64_t t) {
    context.kernels().swiglu(args.gate.row(t), args.up.row(t), args.gate.columns, args.out.row(t));
  });
}

}  // namespace compute
