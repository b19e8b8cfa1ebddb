"""Week 13's vision transformer against torch's convolution, torchvision's, transformers' and timm's networks.

The tests marked `exercise(K)` are what `./course check 13` holds a learner's piece K to. The only file of the week that
imports transformers and torchvision.
"""

import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from programs import close, config, gradients, refused
from safetensors.torch import load_file, save_file

from week13_vit import bench, weights
from week13_vit.model import (
    PatchEmbed,
    ViT,
    ViTConfig,
    attend,
    drop_path,
    flops,
    on_grid,
    patchify,
    resize_positions,
    rollout,
    with_cls,
)

SMALL = ViTConfig(side=12, patch=4, width=24, depth=2, heads=3, mlp_width=40, classes=5)


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(7)


def random(rng, *shape):
    return torch.randn(*shape, generator=rng)


def shaken(model, seed=3):
    """The model with every weight moved at random, so that none is 0 or 1 by accident; in evaluation mode."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=rng)
    return model.eval()


# ---------------------------------------------------------------- exercise 1: patches


@pytest.mark.exercise(1)
def test_patches_have_their_shape():
    found = patchify(torch.arange(16.0).reshape(1, 2, 2, 4), 2)
    assert found is not None, "patchify gives None: is `return` missing?"
    assert tuple(found.shape) == (1, 2, 8), f"patches of 1 x 2 x 2 x 4 by 2 are {tuple(found.shape)}, not (1, 2, 8)"


@pytest.mark.exercise(1)
def test_patches_of_one_channel_by_hand():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    expected = torch.tensor([[[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]]).float()
    found = patchify(image, 2)
    if torch.equal(found, expected[:, [0, 2, 1, 3]]):
        raise AssertionError("the patches go down first, should go from left to right, then down")
    if torch.equal(found, image.reshape(1, 4, 4)):
        raise AssertionError("patches hold whole rows of the image, should be squares: permute before you reshape")
    close(found, expected, "patches")


@pytest.mark.exercise(1)
def test_a_patchs_pixels_stand_channel_by_channel():
    image = torch.arange(8.0).reshape(1, 2, 2, 2)
    found = patchify(image, 2)
    if torch.equal(found, image.permute(0, 2, 3, 1).reshape(1, 1, 8)):
        raise AssertionError("the channel stands last in a patch, should stand first: channel, row, column")
    close(found, torch.arange(8.0).reshape(1, 1, 8), "the patch")


@pytest.mark.exercise(1)
def test_a_patch_holds_all_channels_of_one_place():
    image = torch.arange(16.0).reshape(1, 2, 2, 4)  # two channels, two patches of 2 x 2
    found = patchify(image, 2)
    if torch.equal(found, torch.tensor([[[0, 1, 4, 5, 2, 3, 6, 7], [8, 9, 12, 13, 10, 11, 14, 15]]]).float()):
        raise AssertionError("a patch holds one channel of several places, should hold all channels of one: permute")
    close(found, torch.tensor([[[0, 1, 4, 5, 8, 9, 12, 13], [2, 3, 6, 7, 10, 11, 14, 15]]]).float(), "the patches")


@pytest.mark.exercise(1)
@pytest.mark.parametrize(("shape", "patch"), [((2, 3, 8, 8), 4), ((3, 1, 6, 9), 3), ((2, 4, 5, 10), 5)])
def test_patches_times_a_matrix_are_a_convolution(shape, patch, rng):
    embed = PatchEmbed(shape[1], 7, patch)
    torch.nn.init.normal_(embed.proj.bias, generator=rng)
    images = random(rng, *shape).requires_grad_()
    weight, bias = embed.proj.weight, embed.proj.bias
    (ours, mine), (theirs, other) = (
        gradients(lambda *_, way=way: way(images), images, weight, bias) for way in (embed, embed.convolve)
    )
    assert isinstance(ours, torch.Tensor), "PatchEmbed.forward gives no tensor: is `return` missing?"
    if ours.shape == theirs.shape and torch.allclose(ours + bias, theirs, atol=1e-5):
        raise AssertionError("the bias is missing, should be added")
    close(ours, theirs, "the patches' tokens")
    for name, a, b in zip(("images", "weight", "bias"), mine, other, strict=True):
        close(a, b, f"the gradient of {name}")


def test_an_image_that_cannot_be_cut_is_refused():
    line = refused(patchify, torch.zeros(1, 3, 30, 28), 4)
    assert line == "an image of 30 x 28 pixels cannot be cut into patches of 4 x 4."


# ---------------------------------------------------------------- exercise 2: CLS and positions


@pytest.mark.exercise(2)
def test_cls_and_positions_by_hand():
    patches = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    cls, positions = torch.tensor([[[10.0, 20.0]]]), torch.tensor([[[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]])
    found = with_cls(patches, cls, positions)
    assert found is not None, "with_cls gives None: is `return` missing?"
    assert tuple(found.shape) == (2, 3, 2), f"two images of two patches give {tuple(found.shape)}, should be (2, 3, 2)"
    if torch.allclose(found[:, -1], cls[0] + positions[:, -1]):
        raise AssertionError("CLS stands last, should be token 0")
    if torch.allclose(found[:, 0], cls[0]):
        raise AssertionError("CLS has no position, should have row 0 of positions added")
    if torch.allclose(found[:, 1:], patches):
        raise AssertionError("the patches have no positions, should have rows 1, 2, … added")
    close(found, torch.cat([cls.expand(2, 1, 2), patches], 1) + positions, "the tokens")


@pytest.mark.exercise(2)
def test_cls_and_positions_learn_from_every_image(rng):
    patches, cls, positions = random(rng, 3, 4, 5), random(rng, 1, 1, 5), random(rng, 1, 5, 5)
    for one in (patches, cls, positions):
        one.requires_grad_()
    _, (of_patches, of_cls, of_positions) = gradients(with_cls, patches, cls, positions)
    upstream = torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(0))
    close(of_patches, upstream[:, 1:], "the gradient of patches")
    close(of_cls, upstream[:, :1].sum(0, keepdim=True), "the gradient of cls")
    close(of_positions, upstream.sum(0, keepdim=True), "the gradient of positions")


def test_without_positions_the_order_of_patches_is_nothing(rng):
    """The encoder itself sees a set: that positions are all that tells where a patch lies is the lesson's point."""
    model = shaken(ViT(SMALL))
    images = random(rng, 2, 3, 12, 12)
    mirrored = images.unflatten(3, (3, 4)).flip(3).flatten(3)  # patches in another order, each the same inside
    with torch.no_grad():
        assert (model(images) - model(mirrored)).abs().max() > 1e-3
        model.pos_embed[:, 1:] = model.pos_embed[:, 1:2]
        close(model(mirrored), model(images), "the logits of shuffled patches")


# ---------------------------------------------------------------- exercise 3: positions for another size


@pytest.mark.exercise(3)
def test_resized_positions_have_their_shape_and_keep_cls():
    """The lesson's example: two places with the values 10 and 20 become four."""
    found = resize_positions(torch.tensor([[[7.0], [10.0], [20.0]]]), (1, 2), (1, 4))
    assert found is not None, "resize_positions gives None: is `return` missing?"
    assert tuple(found.shape) == (1, 5, 1), f"1 x 2 brought to 1 x 4 is {tuple(found.shape)}, should be (1, 5, 1)"
    close(found[:, 0], torch.tensor([[7.0]]), "the position of CLS")
    if torch.allclose(found[0, 2:4, 0], torch.tensor([12.5, 17.5])):
        raise AssertionError("interpolated along straight lines, should be bicubically")


@pytest.mark.exercise(3)
def test_resized_positions_stay_where_they_are():
    """A position that says its row and its column says them still, between the ones that were learned."""
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    positions = torch.cat([torch.zeros(1, 1, 2), torch.stack([rows, columns], -1).reshape(1, 16, 2)], dim=1)
    found = resize_positions(positions, (4, 4), (8, 8))[0, 1:].reshape(8, 8, 2)
    assert (found[1:, :, 0] > found[:-1, :, 0]).all(), "what tells the row does not grow downwards: places are mixed up"
    assert (found[:, 1:, 1] > found[:, :-1, 1]).all(), "what tells the column does not grow to the right: mixed up"


def bicubic(old, new):
    """(new, old): what each new place takes of each old one, by Keys' kernel with a = -0.75, the edge repeated. The
    middle of new place i lies at (i + 1/2) old / new - 1/2."""
    found, a = torch.zeros(new, old), -0.75
    for i in range(new):
        at = (i + 0.5) * old / new - 0.5
        first = math.floor(at) - 1
        for j in range(first, first + 4):
            t = abs(at - j)
            near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * (t**3 - 5 * t**2 + 8 * t - 4)
            found[i, min(max(j, 0), old - 1)] += near if t <= 1 else far
    return found


@pytest.mark.exercise(3)
@pytest.mark.parametrize("new", [(5, 2), (6, 6), (2, 4)])
def test_resized_positions_are_a_picture_interpolated_bicubically(new, rng):
    positions = random(rng, 1, 10, 6).requires_grad_()

    def by_formula(positions):
        picture = positions[0, 1:].reshape(3, 3, 6)
        rows = torch.einsum("ih,jw,hwd->ijd", bicubic(3, new[0]), bicubic(3, new[1]), picture)
        return torch.cat([positions[:, :1], rows.reshape(1, -1, 6)], dim=1)

    expected, theirs = gradients(by_formula, positions)
    found, ours = gradients(lambda p: resize_positions(p, (3, 3), new), positions)
    picture = positions[:, 1:].reshape(1, 3, 3, 6).permute(0, 3, 1, 2)
    for size, corners, message in (
        (new[::-1], False, "height and width are swapped, should be size=new: rows first"),
        (new, True, "the corners are aligned, should not be: align_corners=False"),
    ):
        wrong = F.interpolate(picture, size, mode="bicubic", align_corners=corners).permute(0, 2, 3, 1)
        if new[0] != new[1] or corners:
            assert not torch.allclose(found[:, 1:], wrong.reshape(1, -1, 6), atol=1e-6), message
    close(found, expected, f"positions for {new[0]} x {new[1]}")
    close(ours[0], theirs[0], f"the gradient of positions for {new[0]} x {new[1]}")


@pytest.mark.exercise(3)
def test_as_many_patches_on_another_grid_have_other_positions(rng):
    positions = random(rng, 1, 17, 3)
    found = resize_positions(positions, (2, 8), (4, 4))
    assert not torch.equal(found, positions), "2 x 8 for 4 x 4 came back as it was: as many, but not the same places"
    expected = torch.einsum("ih,jw,hwd->ijd", bicubic(2, 4), bicubic(8, 4), positions[0, 1:].reshape(2, 8, 3))
    close(found[0, 1:], expected.reshape(16, 3), "positions of 2 x 8 for 4 x 4")


# ---------------------------------------------------------------- exercise 4: rollout


def attention(rng, *shape):
    return random(rng, *shape).softmax(dim=-1)


@pytest.mark.exercise(4)
def test_rollout_of_one_block_by_hand():
    weights_ = torch.tensor([[[[0.0, 1.0], [0.5, 0.5]], [[1.0, 0.0], [0.5, 0.5]]]])  # two heads
    found = rollout([weights_])
    assert found is not None, "rollout gives None: is `return` missing?"
    if torch.allclose(found, weights_.mean(1)):
        raise AssertionError("the residual connection is missing, should be half of each block: (A + I) / 2")
    if tuple(found.shape) == (1, 2, 2) and torch.allclose(found.sum(-1), torch.full((1, 2), 2.0)):
        raise AssertionError("each row adds up to 2, should to 1: halve A + I")
    if torch.allclose(found, (weights_.sum(1) + torch.eye(2)) / 2):
        raise AssertionError("the heads are added up, should be their mean")
    close(found, torch.tensor([[[0.75, 0.25], [0.25, 0.75]]]), "the rollout")


@pytest.mark.exercise(4)
def test_the_later_block_stands_on_the_left(rng):
    first, second = attention(rng, 2, 3, 4, 4), attention(rng, 2, 3, 4, 4)
    a, b = ((one.mean(1) + torch.eye(4)) / 2 for one in (first, second))
    found = rollout([first, second])
    if torch.allclose(found, a @ b, atol=1e-6):
        raise AssertionError("the first block stands on the left, should on the right: it comes first")
    if torch.allclose(found, b, atol=1e-6):
        raise AssertionError("only the last block is in it, should be all of them multiplied")
    close(found, b @ a, "the rollout of two blocks")


@pytest.mark.exercise(4)
def test_every_token_is_made_of_shares_of_one(rng):
    found = rollout([attention(rng, 2, 3, 7, 7) for _ in range(5)])
    close(found.sum(-1), torch.ones(2, 7), "the sum of a row")
    assert (found >= 0).all()


@pytest.mark.exercise(4)
def test_where_nobody_looks_elsewhere_all_stays(rng):
    eye = torch.eye(5).expand(1, 2, 5, 5)
    close(rollout([eye, eye, eye]), torch.eye(5)[None], "the rollout of blocks in which all look at themselves")


def test_what_is_seen_lies_on_the_grid():
    seen = torch.arange(49.0).reshape(1, 7, 7)
    close(on_grid(seen, (2, 3), "cls"), torch.tensor([[[1.0, 2, 3], [4, 5, 6]]]), "CLS's row")
    close(on_grid(seen, (2, 3), "mean"), seen[:, 1:, 1:].mean(1).reshape(1, 2, 3), "the patches' mean row")
    heads = torch.stack([seen, 2 * seen], dim=1)
    assert tuple(on_grid(heads, (3, 2), "cls").shape) == (1, 2, 3, 2)


# ---------------------------------------------------------------- the network against others


def torchvision_vit(side=12):
    from torchvision.models.vision_transformer import VisionTransformer

    return shaken(VisionTransformer(side, 4, 2, 3, 24, 40, num_classes=5))


def transformers_vit(kind="ViTForImageClassification"):
    import transformers

    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, image_size=12, patch_size=4,
        num_labels=5, layer_norm_eps=1e-3,
    )  # fmt: skip
    return shaken(getattr(transformers, kind)(config))


def assert_equal(ours, theirs, images, name_of):
    """Equal outputs, and equal gradients of the images and of every weight that `name_of` names in the other."""
    images = images.clone().requires_grad_()
    own, other = dict(ours.named_parameters()), dict(theirs.named_parameters())
    pairs = [(name, own[name], other[name_of(name)]) for name in own if name_of(name) in other]
    mine, of_mine = gradients(lambda *_: ours(images), images, *(a for _, a, _ in pairs))
    output, of_other = gradients(lambda *_: theirs(images), images, *(b for _, _, b in pairs))
    close(mine, output, "the logits")
    for name, a, b in zip(["images", *(name for name, _, _ in pairs)], of_mine, of_other, strict=True):
        close(a, b, f"the gradient of {name}", 1e-4)
    return len(pairs)


TV = {"cls_token": "class_token", "pos_embed": "encoder.pos_embedding", "patch_embed.proj": "conv_proj",
      "norm1": "ln_1", "norm2": "ln_2", "attn.qkv.": "self_attention.in_proj_", "attn.proj": "self_attention.out_proj",
      "mlp.fc1": "mlp.0", "mlp.fc2": "mlp.3", "head.": "heads.head."}  # fmt: skip


def torchvision_name(name):
    if name.startswith("norm."):
        return f"encoder.ln.{name[5:]}"
    name = name.replace("blocks.", "encoder.layers.encoder_layer_")
    for ours, theirs in TV.items():
        name = name.replace(ours, theirs)
    return name


def test_equal_to_torchvisions(rng):
    theirs = torchvision_vit()
    ours = weights.build(theirs.state_dict(), heads=3)
    assert ours.config == SMALL
    pairs = assert_equal(ours, theirs, random(rng, 2, 3, 12, 12), torchvision_name)
    assert pairs == len(list(ours.parameters())), "every weight is compared"
    images = random(rng, 2, 3, 12, 12)
    close(ours(images, fused=False), theirs(images), "the logits by the attention that is written out")


def test_torchvisions_b_16_has_the_names_that_are_read():
    from torchvision.models import vit_b_16

    with torch.device("meta"):
        state = weights.in_our_names(vit_b_16().state_dict())
        ours = ViT(weights.shape_of(state))
    assert ours.config == ViTConfig(), "ViT-B/16 is the default"
    assert {name: tensor.shape for name, tensor in state.items()} == {
        name: tensor.shape for name, tensor in ours.state_dict().items()
    }


HF = {"blocks": "vit.layers", "norm1": "layernorm_before", "norm2": "layernorm_after", "attn.proj": "attention.o_proj",
      "cls_token": "vit.embeddings.cls_token", "pos_embed": "vit.embeddings.position_embeddings",
      "patch_embed.proj": "vit.embeddings.patch_embeddings.projection", "head": "classifier"}  # fmt: skip


def transformers_name(name):
    if name.startswith("norm."):
        return f"vit.layernorm.{name[5:]}"
    for ours, theirs in HF.items():
        name = name.replace(ours, theirs)
    return name


class Logits(torch.nn.Module):
    """A model of transformers as one that gives a tensor."""

    def __init__(self, model, what, **flags):
        super().__init__()
        self.model, self.what, self.flags = model, what, flags

    def forward(self, images):
        return getattr(self.model(images, **self.flags), self.what)

    def named_parameters(self, *arguments, **flags):
        return self.model.named_parameters(*arguments, **flags)


def test_equal_to_transformers(rng, tmp_path):
    theirs = transformers_vit()
    theirs.save_pretrained(tmp_path)
    assert "vit.encoder.layer.0.attention.attention.query.weight" in load_file(tmp_path / "model.safetensors"), (
        "as published ones are named"
    )
    ours = weights.load_pretrained(tmp_path)
    assert ours.config == replace(SMALL, eps=1e-3)
    pairs = assert_equal(ours, Logits(theirs, "logits"), random(rng, 2, 3, 12, 12), transformers_name)
    assert pairs == len(list(ours.parameters())) - 4, "every weight but the queries, keys and values, three there"
    for block, layer in zip(ours.blocks, theirs.vit.layers, strict=True):
        three = [getattr(layer.attention, f"{part}_proj").weight.grad for part in "qkv"]
        assert three == [None] * 3 and block.attn.qkv.weight.grad is None  # autograd.grad leaves nothing behind
    images, upstream = random(rng, 2, 3, 12, 12), random(rng, 2, 5)
    ours(images).backward(upstream)
    theirs(images).logits.backward(upstream)
    for block, layer in zip(ours.blocks, theirs.vit.layers, strict=True):
        for kind in ("weight", "bias"):
            three = [getattr(getattr(layer.attention, f"{part}_proj"), kind).grad for part in "qkv"]
            close(
                getattr(block.attn.qkv, kind).grad, torch.cat(three), "the gradient of queries, keys and values", 1e-4
            )


def test_equal_to_transformers_on_images_of_another_size(rng):
    theirs = transformers_vit()
    ours = weights.build(theirs.state_dict(), heads=3, eps=1e-3)  # the names that the library has in memory
    for side in ((20, 16), (8, 8), (12, 24)):
        images = random(rng, 2, 3, *side)
        assert_equal(ours, Logits(theirs, "logits", interpolate_pos_encoding=True), images, transformers_name)


@pytest.mark.parametrize("pooler", [True, False])
def test_a_vit_model_has_no_head(rng, tmp_path, pooler):
    import transformers

    config = transformers_vit().config
    theirs = shaken(transformers.ViTModel(config, add_pooling_layer=pooler))
    theirs.save_pretrained(tmp_path)
    ours = weights.load_pretrained(tmp_path)
    images = random(rng, 2, 3, 12, 12)
    with torch.no_grad():
        close(ours.encode(images), theirs(images).last_hidden_state, "the tokens behind the last block")
        close(ours(images), theirs(images).last_hidden_state[:, 0], "the features")
    assert ours.config.classes == 0


def test_equal_to_timms(rng):
    import timm

    theirs = shaken(timm.models.VisionTransformer(img_size=12, patch_size=4, embed_dim=24, depth=2, num_heads=3,
                                                  mlp_ratio=40 / 24, num_classes=5))  # fmt: skip
    ours = weights.build(theirs.state_dict(), heads=3)
    assert_equal(ours, theirs, random(rng, 2, 3, 12, 12), lambda name: name)


def test_attention_maps_equal_transformers(rng):
    theirs = transformers_vit()
    theirs.set_attn_implementation("eager")
    ours = weights.build(theirs.state_dict(), heads=3, eps=1e-3)
    images = random(rng, 2, 3, 12, 12)
    with torch.no_grad():
        expected = theirs(images, output_attentions=True).attentions
    found = ours.attentions(images)
    assert len(found) == len(expected) == 2
    for mine, other in zip(found, expected, strict=True):
        close(mine, other, "the attention of a block")


def test_the_bench_compares_networks_that_say_the_same(tmp_path, capsys):
    flags = ["--preset", "smoke", "--files", "3", "--pixels", "30", "--out", tmp_path]
    found = bench.main(config(bench, *flags))
    assert found.keys() == {f"{part}, 1 threads" for part in bench.PARTS}
    for side in (64, 224):
        assert found["train, 1 threads"][f"ours, {side}"]["apart"] < 1e-5
    assert "3 JPEGs of 37 x 30 brought to 64 x 64" in capsys.readouterr().out


# ---------------------------------------------------------------- checkpoints that are not right


def test_what_is_missing_too_much_or_of_another_shape_is_refused_by_its_name(tmp_path):
    transformers_vit().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = load_file(path)
    bias = "vit.encoder.layer.1.output.dense.bias"
    save_file({name: one for name, one in whole.items() if name != bias}, path)
    assert refused(weights.load_pretrained, tmp_path) == f"{path}: it lacks blocks.1.mlp.fc2.bias."
    save_file(whole | {"vit.rotary": torch.zeros(3)}, path)
    line = refused(weights.load_pretrained, tmp_path)
    assert line == f"{path}: vit.rotary is no tensor of a plain vision transformer."
    save_file(whole | {bias: torch.zeros(25)}, path)
    assert refused(weights.load_pretrained, tmp_path) == f"{path}: its blocks.1.mlp.fc2.bias is (25,), should be (24,)."
    path.write_bytes(path.read_bytes()[:1000])
    assert refused(weights.load_pretrained, tmp_path).startswith(f"{path} is damaged, or holds more than tensors (")
    path.unlink()
    assert refused(weights.load_pretrained, tmp_path) == (
        f"{path} is not there. Give the folder or file of a vision transformer's weights."
    )


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    save_file({"conv1.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "net.safetensors")
    line = refused(weights.load_pretrained, tmp_path / "net.safetensors")
    assert line == f"{tmp_path / 'net.safetensors'}: conv1.weight is no tensor of a plain vision transformer."
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "swin"}), encoding="utf-8")
    assert refused(weights.load_pretrained, tmp_path) == (
        f"{tmp_path / 'config.json'}: describes a model of type swin, expected vit."
    )
    torch.save(print, tmp_path / "code.pth")
    line = refused(weights.load_pretrained, tmp_path / "code.pth")
    assert line.startswith(f"{tmp_path / 'code.pth'} is damaged, or holds more than tensors (")
    (tmp_path / "code.pth").write_text("hello\n", encoding="utf-8")
    assert refused(weights.load_pretrained, tmp_path / "code.pth").endswith("more than tensors. Fetch it again.")


def test_a_checkpoints_own_mean_and_deviation_are_read(tmp_path):
    assert weights.normalisation(tmp_path) is None
    path = tmp_path / "preprocessor_config.json"
    told = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.4], "size": 224}
    path.write_text(json.dumps(told), encoding="utf-8")
    assert weights.normalisation(tmp_path) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.4))
    path.write_text(json.dumps(told | {"image_std": [0.5, 0, 0.5]}), encoding="utf-8")
    assert refused(weights.normalisation, tmp_path) == (
        f"{path}: expected image_mean and image_std of three numbers each."
    )


def test_a_pth_of_torchvision_loads(rng, tmp_path):
    theirs = torchvision_vit()
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    ours = weights.load_pretrained(tmp_path / "vit.pth")
    assert ours.config == replace(SMALL, heads=1), "heads are not to be seen: a published one has 64 numbers each"


def test_a_new_head_changes_nothing_else(rng):
    old = shaken(ViT(SMALL))
    new = weights.with_head(old, 2, pool="mean").eval()
    images = random(rng, 2, 3, 12, 12)
    close(new.encode(images), old.encode(images), "the tokens behind the last block")
    close(new(images), torch.zeros(2, 2), "the logits of a new head")
    close(new.features(images), old.encode(images)[:, 1:].mean(1), "the mean of the patches")


# ---------------------------------------------------------------- what must hold of it


def test_the_fused_attention_is_the_one_written_out(rng):
    q, k, v = (random(rng, 2, 3, 5, 8).requires_grad_() for _ in range(3))
    ours, of_ours = gradients(lambda *x: attend(*x)[0], q, k, v)
    theirs, of_theirs = gradients(F.scaled_dot_product_attention, q, k, v)
    close(ours, theirs, "attention")
    for name, a, b in zip("qkv", of_ours, of_theirs, strict=True):
        close(a, b, f"the gradient of {name}")


def test_drop_path_drops_whole_images_and_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.ones(4000, 2, 3)
    dropped = drop_path(x, 0.25, True)
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3]) and (dropped.flatten(1).std(1) == 0).all()
    assert abs(dropped.mean() - 1) < 0.05
    assert drop_path(x, 0.25, False) is x


def test_flops_are_what_torch_counts(rng):
    from torch.utils.flop_counter import FlopCounterMode

    model = ViT(SMALL)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(random(rng, 1, 3, 12, 12), fused=False)
    assert counter.get_total_flops() == flops(SMALL)


def test_it_learns_one_batch_by_heart(rng):
    torch.manual_seed(0)
    model = ViT(SMALL)
    images, labels = random(rng, 10, 3, 12, 12), torch.arange(10) % 5
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(90):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05 and (model.eval()(images).argmax(1) == labels).all()


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"side": 30}, "--side 30: must be a multiple of --patch 4."),
        ({"width": 25}, "--width 25: must be a multiple of --heads 3."),
        ({"pool": "max"}, "--pool max: must be one of cls, mean."),
        ({"drop_path": 1.0}, "--drop-path 1.0: must be from 0 to below 1."),
    ],
)
def test_shapes_that_cannot_be_are_refused(flags, line):
    assert refused(lambda: replace(SMALL, **flags)) == line
