#include "common/compute/embedding.h"

#include "common/base/check.h"
#include "common/compute/cpu/for_rows.h"
#include "common/compute/dequantize.h"

namespace compute {

void Embedding(const Context& context, const EmbeddingArgs& args) {
  CHECK(static_cast<int64_t>(args.tokens.size()) == args.out.rows);
  const DTypeFacts& facts = Facts(args.type);
  const int64_t row_bytes = args.out.columns / facts.values * facts.bytes;
  cpu::ForRows(context, args.out.rows, args.out.columns, [&](int64_t t) {
    Dequantize(args.type, args.table + args.tokens[t] * row_bytes, args.out.columns,
               args.out.row(t));
  });
}

}  // namespace compute
