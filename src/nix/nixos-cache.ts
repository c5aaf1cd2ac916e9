/** The cache that every Nix asks unless it is told otherwise. */
export const NIXOS_CACHE = "https://cache.nixos.org";
/** Its key, which every Nix trusts. */
export const NIXOS_KEY = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
