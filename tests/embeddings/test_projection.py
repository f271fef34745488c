import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from hierarchy_lm.embeddings.projection import principal_plane


def test_is_the_principal_plane_of_the_normalised_vectors():
    vectors = np.random.default_rng(1).normal(size=(50, 5)) * [3, 2, 1, 0.5, 0.2] + 1
    places, shares = principal_plane(torch.from_numpy(vectors).float())
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pca = PCA(n_components=2).fit(units)
    assert np.abs(places.numpy()) == pytest.approx(np.abs(pca.transform(units)), abs=1e-5)
    assert shares == pytest.approx(pca.explained_variance_ratio_, abs=1e-6)


def test_the_picture_does_not_turn_over_when_documents_are_added():
    vectors = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [5.0, 3.0, 1.0, 1.0, 1.0, 1.0]
    )
    whole, _ = principal_plane(vectors)
    part, _ = principal_plane(vectors[:190])
    for axis in range(2):
        assert torch.corrcoef(torch.stack([whole[:190, axis], part[:, axis]]))[0, 1] > 0.95
