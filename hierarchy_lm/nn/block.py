"""One layer of a BERT-style transformer."""

from torch import Tensor, nn
from torch.nn import functional as F

INIT_STD = 0.02  # BERT's


class TransformerBlock(nn.Module):
    """Self-attention and feed-forward, each with dropout, residual and LayerNorm (post-LN).

    Args:
        hidden_size: Width k.
        num_heads: Must divide ``hidden_size``; scores are divided by the root of a head's width.
        ffn_size: Width inside the feed-forward block; 0 leaves this sub-layer out.
        dropout: On attention weights and the outputs of the sub-layers.

    Shape:
        - states: ``(B, L, k)``
        - mask: ``(L, L)`` bool, True where row may look at column, or numbers to add to the scores;
          None lets all look at all
        - output: ``(B, L, k)``
    """

    def __init__(self, hidden_size: int, num_heads: int, ffn_size: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_key_value = nn.Linear(hidden_size, 3 * hidden_size)
        self.attention_output = nn.Linear(hidden_size, hidden_size)
        self.attention_norm = nn.LayerNorm(hidden_size, eps=1e-12)
        self.has_ffn = ffn_size > 0
        if self.has_ffn:
            self.ffn_input = nn.Linear(hidden_size, ffn_size)
            self.ffn_output = nn.Linear(ffn_size, hidden_size)
            self.ffn_norm = nn.LayerNorm(hidden_size, eps=1e-12)
        self.dropout = nn.Dropout(dropout)
        for module in self.children():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=INIT_STD)
                nn.init.zeros_(module.bias)

    def forward(self, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply the sub-layers."""
        attended = self.attention_output(self._attend(states, mask))
        states = self.attention_norm(states + self.dropout(attended))
        if not self.has_ffn:
            return states
        expanded = self.ffn_output(F.gelu(self.ffn_input(states)))
        normed: Tensor = self.ffn_norm(states + self.dropout(expanded))
        return normed

    def _attend(self, states: Tensor, mask: Tensor | None) -> Tensor:
        batch, length, width = states.shape
        heads = self.query_key_value(states).view(batch, length, 3, self.num_heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # (B, heads, L, k / heads)
        mixed = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        return mixed.transpose(1, 2).reshape(batch, length, width)
